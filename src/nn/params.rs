//! The parameters of a model: named, in a fixed order, freshly drawn or strictly loaded.
//!
//! A model's constructor walks a [`Scope`] and requests each tensor by name and shape. The [`Builder`] takes
//! the tensor from a seed or from a file. [`Builder::finish`] reports at once all tensors that were missing,
//! of another shape, not finite or left over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor, Var};
use rand::Rng as _;

use crate::error::{Error, Result};
use crate::rng;

/// How a fresh parameter is drawn.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// Every entry this value.
    Constant(f32),
    /// Independent normal entries of mean zero and this standard deviation.
    Normal(f32),
    /// Ones on the diagonal of a square matrix.
    Identity,
}

/// Named tensors in alphabetical order; trainable ones are candle variables.
#[derive(Debug, Clone, Default)]
pub struct Params(BTreeMap<String, Tensor>);

impl Params {
    /// Names and tensors, alphabetically.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// The parameters for which `wanted` holds.
    pub fn only(&self, wanted: impl Fn(&str, &Tensor) -> bool) -> Self {
        let some = self.0.iter().filter(|(name, tensor)| wanted(name, tensor));
        Self(some.map(|(name, tensor)| (name.clone(), tensor.clone())).collect())
    }

    /// These parameters and `others`, whose names get a prefix.
    pub fn with(&self, prefix: &str, others: &Self) -> Self {
        let others = others.0.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()));
        Self(self.0.clone().into_iter().chain(others).collect())
    }

    /// The device of all parameters; `None` if there are none.
    pub fn device(&self) -> Option<&Device> {
        self.0.values().next().map(Tensor::device)
    }

    /// Number of scalar parameters.
    pub fn count(&self) -> usize {
        self.0.values().map(Tensor::elem_count).sum()
    }

    /// Overwrites every parameter with the tensor of the same name.
    ///
    /// # Errors
    /// When a name is missing or extra, or a shape differs; then nothing has changed.
    pub fn assign(&self, mut tensors: BTreeMap<String, Tensor>, origin: &Path) -> Result<()> {
        let mut problems = Vec::new();
        let mut pairs = Vec::new();
        for (name, tensor) in &self.0 {
            match checked(name, tensor.shape(), tensors.remove(name)) {
                Ok(value) => pairs.push((tensor, value)),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(tensors.keys().map(|name| format!("tensor {name} is not part of this model")));
        refuse(problems, origin)?;
        for (tensor, value) in pairs {
            let value = value.to_dtype(tensor.dtype())?.to_device(tensor.device())?;
            Var::from_tensor(tensor)?.set(&value)?;
        }
        Ok(())
    }
}

/// Where the tensors of a model under construction come from.
enum Source {
    Seed(u64),
    File(BTreeMap<String, Tensor>),
}

struct State {
    source: Source,
    made: BTreeMap<String, Tensor>,
    problems: Vec<String>,
}

/// Hands out the parameters of a model under construction.
pub struct Builder {
    state: RefCell<State>,
    trainable: Box<dyn Fn(&str) -> bool>,
    dtype: DType,
    device: Device,
}

impl Builder {
    /// Fresh trainable parameters in f32: each drawn from its own stream, named by the parameter, of `seed`.
    pub fn fresh(seed: u64, device: &Device) -> Self {
        Self::with(Source::Seed(seed), |_| true, DType::F32, device)
    }

    /// The same parameters in another type.
    pub fn of(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// Parameters from a file, converted to f32; those whose names are `trainable` become variables, others
    /// never see a gradient.
    pub fn loaded(
        tensors: BTreeMap<String, Tensor>,
        trainable: impl Fn(&str) -> bool + 'static,
        device: &Device,
    ) -> Self {
        Self::with(Source::File(tensors), trainable, DType::F32, device)
    }

    fn with(
        source: Source,
        trainable: impl Fn(&str) -> bool + 'static,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let state = State { source, made: BTreeMap::new(), problems: Vec::new() };
        Self { state: RefCell::new(state), trainable: Box::new(trainable), dtype, device: device.clone() }
    }

    /// The root of the model's names.
    pub fn root(&self) -> Scope<'_> {
        Scope { builder: self, prefix: String::new() }
    }

    /// The finished parameters; `origin` names the file in errors.
    ///
    /// # Errors
    /// When tensors were missing, extra, of another shape or not finite: lists all of them.
    pub fn finish(self, origin: &Path) -> Result<Params> {
        let State { source, made, mut problems } = self.state.into_inner();
        if let Source::File(left) = source {
            problems.extend(left.keys().map(|name| format!("tensor {name} is not part of this model")));
        }
        refuse(problems, origin)?;
        Ok(Params(made))
    }

    fn make(&self, name: &str, shape: &Shape, init: Init) -> Result<Tensor> {
        let mut state = self.state.borrow_mut();
        let value = match &mut state.source {
            Source::Seed(seed) => draw(*seed, name, shape, init)?,
            Source::File(tensors) => checked(name, shape, tensors.remove(name)).unwrap_or_else(|problem| {
                state.problems.push(problem);
                // Construction goes on with zeros, so that every problem is found in one pass.
                Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("invariant: zeros on CPU")
            }),
        };
        let value = value.to_dtype(self.dtype)?.to_device(&self.device)?;
        let value = if (self.trainable)(name) { Var::from_tensor(&value)?.into_inner() } else { value };
        state.made.insert(name.to_owned(), value.clone());
        Ok(value)
    }
}

/// A place in the tree of parameter names, such as `text_model.encoder.layers.0`.
#[derive(Clone)]
pub struct Scope<'a> {
    builder: &'a Builder,
    prefix: String,
}

impl Scope<'_> {
    /// The scope `name` below this one.
    pub fn sub(&self, name: impl std::fmt::Display) -> Self {
        Self { builder: self.builder, prefix: self.full(name) }
    }

    /// The parameter `name` of this shape.
    /// [`Builder::finish`] reports a missing or wrong tensor of a file.
    pub fn param(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        self.builder.make(&self.full(name), &shape.into(), init)
    }

    /// The type of the parameters.
    pub fn dtype(&self) -> DType {
        self.builder.dtype
    }

    /// The trained parameters below this scope that were requested so far.
    pub fn variables(&self) -> Vec<Tensor> {
        let below = format!("{}.", self.prefix);
        let state = self.builder.state.borrow();
        let own = state.made.iter().filter(|(name, tensor)| name.starts_with(&below) && tensor.is_variable());
        own.map(|(_, tensor)| tensor.clone()).collect()
    }

    fn full(&self, name: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

fn draw(seed: u64, name: &str, shape: &Shape, init: Init) -> Result<Tensor> {
    let count = shape.elem_count();
    let values = match init {
        Init::Constant(value) => vec![value; count],
        Init::Normal(std) => {
            let mut rng = rng::stream(seed, name, 0);
            (0..count).map(|_| std * normal(&mut rng)).collect()
        }
        Init::Identity => {
            let width = shape.dims().last().copied().unwrap_or(1);
            (0..count).map(|i| if i / width == i % width { 1.0 } else { 0.0 }).collect()
        }
    };
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut rng::Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

fn checked(name: &str, shape: &Shape, found: Option<Tensor>) -> Result<Tensor, String> {
    let tensor = found.ok_or_else(|| format!("tensor {name} {:?} is missing", shape.dims()))?;
    if tensor.shape() != shape {
        return Err(format!("tensor {name} has shape {:?}, {:?} expected", tensor.dims(), shape.dims()));
    }
    let sum = tensor.to_dtype(DType::F32).and_then(|t| t.abs()?.sum_all()?.to_scalar::<f32>());
    match sum {
        Ok(sum) if sum.is_finite() => Ok(tensor),
        Ok(_) => Err(format!("tensor {name} has entries that are not finite")),
        Err(error) => Err(format!("tensor {name} cannot be read: {error}")),
    }
}

fn refuse(problems: Vec<String>, origin: &Path) -> Result<()> {
    let shown = 8;
    let more = problems.len().saturating_sub(shown);
    let mut text = problems.iter().take(shown).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 {
        text += &format!("; and {more} more");
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::file(origin, text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(builder: &Builder) -> Result<Tensor> {
        let scope = builder.root().sub("layer").sub(0);
        scope.param("bias", 3, Init::Constant(0.5))?;
        scope.param("weight", (2, 3), Init::Normal(1.0))
    }

    #[test]
    fn a_seed_gives_the_same_parameters_in_any_order() {
        let draw = |seed| {
            let builder = Builder::fresh(seed, &Device::Cpu);
            let weight = model(&builder).unwrap();
            assert_eq!(builder.finish(Path::new("x")).unwrap().count(), 9);
            weight.to_vec2::<f32>().unwrap()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn loading_names_every_problem_at_once() {
        let tensor = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let tensors = [("layer.0.weight".to_owned(), tensor(&[3, 2])), ("other".to_owned(), tensor(&[1]))];
        let builder = Builder::loaded(tensors.into(), |_| false, &Device::Cpu);
        model(&builder).unwrap();
        let message = builder.finish(Path::new("w.safetensors")).unwrap_err().to_string();
        for part in
            ["w.safetensors", "layer.0.bias [3] is missing", "[3, 2], [2, 3] expected", "other is not"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_tensor_that_is_not_finite_is_named() {
        let nan = Tensor::new(&[f32::NAN, 0.0, 0.0], &Device::Cpu).unwrap();
        let tensors = [("layer.0.bias".to_owned(), nan)];
        let builder = Builder::loaded(tensors.into(), |_| false, &Device::Cpu);
        builder.root().sub("layer.0").param("bias", 3, Init::Constant(0.0)).unwrap();
        assert!(builder.finish(Path::new("w")).unwrap_err().to_string().contains("not finite"));
    }
}
