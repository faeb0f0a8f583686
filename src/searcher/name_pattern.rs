//! Patterns of image names: `*` stands for any text, `?` for any character, everything else for itself.

use glob::Pattern;

/// A pattern that names are compared with.
#[derive(Debug, Clone)]
pub struct NamePattern(Pattern);

impl NamePattern {
    /// The pattern of this text.
    pub fn new(text: &str) -> Self {
        let escaped: String = text
            .chars()
            .map(|c| match c {
                '[' => "[[]".to_owned(),
                ']' => "[]]".to_owned(),
                // Two of them would have a meaning of their own.
                other => other.to_string(),
            })
            .collect();
        let single = collapsed(&escaped);
        // Without classes and double stars every text is a pattern.
        Self(Pattern::new(&single).unwrap_or_default())
    }

    /// Whether the name fits.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

/// A text with one `*` for each row of them.
fn collapsed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !(c == '*' && out.ends_with('*')) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stars_and_question_marks_are_special() {
        let fits = |pattern: &str, name: &str| NamePattern::new(pattern).matches(name);
        assert!(fits("2019/*", "2019/a/b.jpg") && fits("a?.jpg", "a1.jpg") && fits("**", "any"));
        assert!(fits("a[1].jpg", "a[1].jpg") && !fits("a[1].jpg", "a1.jpg") && !fits("a.jpg", "b.jpg"));
        assert!(fits("a**b", "a/x/b") && fits("[!]*", "[!]x") && fits("]", "]"));
    }
}
