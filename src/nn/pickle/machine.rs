//! The stack machine of Python's pickles (PEP 307, `pickletools`), as far as PyTorch's files use it.
//!
//! Nothing is executed: a call becomes a [`Node`] that says what would be called. Values are stored once, in
//! one list, and refer to each other by their place in it. So memory is bounded by the pickle's length, and
//! nesting cannot exhaust the program's stack. References may form circles: code that follows them must limit
//! the number of steps.

use std::collections::HashMap;

/// The place of a value in the list.
pub type Id = usize;

/// A value.
#[derive(Debug)]
pub enum Node {
    /// `None`, a flag, a float: values that describe no tensor.
    Other,
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// A class or function: module, a space, name.
    Global(String),
    /// A tuple or list.
    List(Vec<Id>),
    /// Keys and values in order.
    Dict(Vec<(Id, Id)>),
    /// The called function and its arguments.
    Call(Id, Id),
    /// The state of an object.
    Object(Id),
    /// Data of the archive outside the pickle.
    Persistent(Id),
}

/// The values of a pickle.
pub struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle.
    ///
    /// # Errors
    /// When it is damaged: what is wrong with it, as a clause.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine =
            Machine { bytes, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { nodes: machine.nodes, root })
    }

    /// The outermost value.
    pub fn root(&self) -> Id {
        self.root
    }

    /// The value at a place; `Other` if there is none.
    pub fn get(&self, id: Id) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::Other)
    }

    /// The members of a tuple or list; empty for other values.
    pub fn list(&self, id: Id) -> &[Id] {
        if let Node::List(members) = self.get(id) { members } else { &[] }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    /// Runs one instruction. Returns whether another follows.
    fn step(&mut self) -> Result<bool, String> {
        match self.byte()? {
            b'.' => return Ok(false),
            0x80 => _ = self.byte()?,
            0x95 => _ = self.take(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            code => self.value(code)?,
        }
        Ok(true)
    }

    /// Runs an instruction that makes a value or adds to one.
    fn value(&mut self, code: u8) -> Result<(), String> {
        let node = match code {
            b'a' | b'e' | b's' | b'u' => return self.add(code),
            b'N' | 0x88 | 0x89 => Node::Other,
            b'G' => self.take(8).map(|_| Node::Other)?,
            b'K' => Node::Int(self.number(1)?),
            b'M' => Node::Int(self.number(2)?),
            b'J' => Node::Int(i64::from(self.number(4)? as i32)),
            0x8a => Node::Int(self.long()?),
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b'c' => Node::Global(format!("{} {}", self.line()?, self.line()?)),
            b')' | b']' => Node::List(Vec::new()),
            0x85..=0x87 => Node::List(self.above(usize::from(code - 0x84))?),
            b't' | b'l' => Node::List(self.above_mark()?),
            b'}' => Node::Dict(Vec::new()),
            b'Q' => Node::Persistent(self.pop()?),
            b'R' | 0x81 => self.call()?,
            b'b' => return self.build(),
            code => return Err(format!("instruction {code:#04x} is not one of a PyTorch file")),
        };
        self.push(node);
        Ok(())
    }

    /// Adds members or pairs to the list or dictionary below them on the stack.
    fn add(&mut self, code: u8) -> Result<(), String> {
        let more = match code {
            b'a' => self.above(1)?,
            b's' => self.above(2)?,
            _ => self.above_mark()?,
        };
        let under = self.stack.last().and_then(|&id| self.nodes.get_mut(id));
        match (under, code) {
            (Some(Node::List(members)), b'a' | b'e') => members.extend(more),
            (Some(Node::Dict(pairs)), b's' | b'u') => {
                pairs.extend(more.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("something is added to what is neither a list nor a dictionary".into()),
        }
        Ok(())
    }

    fn call(&mut self) -> Result<Node, String> {
        let (with, of) = (self.pop()?, self.pop()?);
        let ordered =
            matches!(self.nodes.get(of), Some(Node::Global(name)) if name == "collections OrderedDict");
        Ok(if ordered { Node::Dict(Vec::new()) } else { Node::Call(of, with) })
    }

    /// Gives an object its state. The state of a dictionary, other than its pairs, describes no tensor.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let object = self.stack.last().copied().ok_or_else(short)?;
        if let Some(Node::Call(..)) = self.nodes.get(object) {
            self.nodes[object] = Node::Object(state);
        }
        Ok(())
    }

    fn put(&mut self, width: usize) -> Result<(), String> {
        let (place, top) = (self.number(width)? as u32, self.stack.last().copied());
        self.memo.insert(place, top.ok_or_else(short)?);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), String> {
        let place = self.number(width)? as u32;
        self.stack.push(*self.memo.get(&place).ok_or_else(short)?);
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(short)
    }

    /// Takes the `count` topmost values off the stack, in the order in which they were pushed.
    fn above(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let start = self.stack.len().checked_sub(count).ok_or_else(short)?;
        Ok(self.stack.split_off(start))
    }

    /// Takes the values above the last mark off the stack.
    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let start = self.marks.pop().filter(|&start| start <= self.stack.len()).ok_or_else(short)?;
        Ok(self.stack.split_off(start))
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.number(1)? as u8)
    }

    /// An unsigned number of up to eight bytes, little-endian.
    fn number(&mut self, width: usize) -> Result<i64, String> {
        let mut value = [0; 8];
        value.get_mut(..width).ok_or_else(short)?.copy_from_slice(self.take(width)?);
        Ok(i64::from_le_bytes(value))
    }

    /// A signed number after its length.
    fn long(&mut self) -> Result<i64, String> {
        let width = usize::from(self.byte()?);
        let value = self.number(width)?;
        let unused = 64 - 8 * width as u32;
        Ok(if width == 0 { 0 } else { value << unused >> unused })
    }

    /// A text after its length, a number of `width` bytes.
    fn text(&mut self, width: usize) -> Result<Node, String> {
        let length = usize::try_from(self.number(width)?).map_err(|_| short())?;
        Ok(Node::Text(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or_else(short)?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.byte()?;
        Ok(line)
    }
}

fn short() -> String {
    "the list of tensors is damaged".into()
}
