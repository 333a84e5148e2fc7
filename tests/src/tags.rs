//! Which sentences of spec's chapters are cited by code and tests, and which are not.
//!
//! A chapter tags a MUST by beginning a line, or a bullet, with `**[M7]**`. A comment cites it as
//! `[M7]`, as `(M7)`, or by beginning with `M7:`; `M1, M6` and `R3 to R6` are lists. A tag is one or
//! two capital letters and a number. The rules of spec count as tests of the sentences they cite:
//! the model checks them on every transition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where tags are defined and cited.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tags {
    /// Each defined tag with the places that define it (more than one is a fault).
    pub defined: BTreeMap<String, Vec<String>>,
    /// Each cited tag with the files of code that cite it.
    pub cited_by_code: BTreeMap<String, BTreeSet<String>>,
    /// Each cited tag with the test files, test modules and rules that cite it.
    pub cited_by_tests: BTreeMap<String, BTreeSet<String>>,
    /// The tags that are cited in brackets, so that nothing else can be meant.
    pub certain: BTreeSet<String>,
}

/// What is wrong with a tag.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// Two sentences have the same tag.
    DefinedTwice(String, Vec<String>),
    /// A file cites a tag that no chapter defines.
    Unknown(String, Vec<String>),
    /// No code cites it: nothing claims to implement the sentence.
    NoCode(String),
    /// No test and no rule cites it: nothing checks the sentence.
    NoTest(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefinedTwice(tag, places) => write!(f, "[{tag}] is defined by {places:?}"),
            Self::Unknown(tag, files) => write!(f, "[{tag}] is not in a chapter; see {files:?}"),
            Self::NoCode(tag) => write!(f, "[{tag}] is cited by no code"),
            Self::NoTest(tag) => write!(f, "[{tag}] is cited by no test and no rule"),
        }
    }
}

/// What a file is, as far as tags are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A chapter of spec: it defines.
    Chapter,
    /// Rust that ships, or runs as a broker: cites as code above the first `#[cfg(test)]` that does
    /// not merely declare a file, as a test below.
    Code,
    /// A test, a trace, a mutant or a rule: cites as a test.
    Test,
}

impl Tags {
    /// Reads every chapter, Rust file and trace below `root`.
    ///
    /// # Errors
    /// The file system's.
    pub fn read(root: &Path) -> std::io::Result<Self> {
        let mut tags = Self::default();
        let mut files = Vec::new();
        for folder in ["spec", "client", "model", "harness", "tests"] {
            list(&root.join(folder), &mut files)?;
        }
        for file in files {
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            if let Some(kind) = kind(&name) {
                tags.add(&name, kind, &std::fs::read_to_string(&file)?);
            }
        }
        Ok(tags)
    }

    /// Adds one file's text.
    pub fn add(&mut self, name: &str, kind: Kind, text: &str) {
        let mut kind = kind;
        let mut lines = (1..).zip(text.lines()).peekable();
        while let Some((number, line)) = lines.next() {
            let is_inline = lines.peek().is_some_and(|(_, next)| !next.trim_end().ends_with(';'));
            if kind == Kind::Code && line.trim_start().starts_with("#[cfg(test)]") && is_inline {
                kind = Kind::Test;
            }
            match kind {
                Kind::Chapter => {
                    if let Some(tag) = definition(line) {
                        let place = format!("{name}:{number}");
                        self.defined.entry(tag.into()).or_default().push(place);
                    }
                }
                Kind::Code | Kind::Test => self.cite(kind, name, line),
            }
        }
    }

    fn cite(&mut self, kind: Kind, name: &str, line: &str) {
        for (tag, certain) in citations(line) {
            let cited =
                if kind == Kind::Test { &mut self.cited_by_tests } else { &mut self.cited_by_code };
            cited.entry(tag.clone()).or_default().insert(name.into());
            if certain {
                self.certain.insert(tag);
            }
        }
    }

    /// Everything that is wrong, sorted.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (tag, places) in &self.defined {
            if places.len() > 1 {
                faults.push(Fault::DefinedTwice(tag.clone(), places.clone()));
            }
            if !self.cited_by_code.contains_key(tag) {
                faults.push(Fault::NoCode(tag.clone()));
            }
            if !self.cited_by_tests.contains_key(tag) {
                faults.push(Fault::NoTest(tag.clone()));
            }
        }
        let cited: BTreeSet<&String> =
            self.cited_by_code.keys().chain(self.cited_by_tests.keys()).collect();
        let letters = |tag: &str| self::tag(tag).map(|(letters, _)| letters.to_owned());
        let used: BTreeSet<_> = self.defined.keys().map(|tag| letters(tag)).collect();
        for tag in cited {
            let meant = self.certain.contains(tag) || used.contains(&letters(tag));
            if meant && !self.defined.contains_key(tag) {
                let by = [&self.cited_by_code, &self.cited_by_tests];
                let files = by.iter().filter_map(|by| by.get(tag)).flatten().cloned().collect();
                faults.push(Fault::Unknown(tag.clone(), files));
            }
        }
        faults.sort();
        faults
    }
}

/// What the file `name` (relative to the root) is; `None`: it has no part in this.
fn kind(name: &str) -> Option<Kind> {
    let path = Path::new(name);
    let has = |folder: &str| path.components().any(|part| part.as_os_str() == folder);
    let file = path.file_name()?.to_str()?;
    // The checker's own tests are full of tags that nobody defines.
    if name == CHECKER {
        return None;
    }
    match path.extension()?.to_str()? {
        "md" if name.starts_with("spec/") => Some(Kind::Chapter),
        "trace" => Some(Kind::Test),
        "rs" if has("tests") || has("benches") || has("examples") => Some(Kind::Test),
        "rs" if has("rules") || file == "tests.rs" || file.starts_with("mutant") => {
            Some(Kind::Test)
        }
        // The model is the checker: what it cites, it checks.
        "rs" if name.starts_with("model/src/") => Some(Kind::Test),
        "rs" => Some(Kind::Code),
        _ => None,
    }
}

/// The tag that a chapter's line defines: it begins the line or the bullet, as `**[M7]**`.
fn definition(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("* ").or_else(|| line.strip_prefix("- ")).unwrap_or(line);
    let (tag, rest) = line.strip_prefix("**[")?.split_once(']')?;
    (rest.starts_with("**") && self::tag(tag).is_some()).then_some(tag)
}

/// What a line of code or of a trace cites, each with whether it is certainly a citation: `[M7]`
/// is, `(M7)` and `M7:` at the comment's start only where a chapter uses its letters.
fn citations(line: &str) -> Vec<(String, bool)> {
    let comment = line.find("//").or_else(|| line.find("# ")).map_or("", |start| &line[start..]);
    let mut cited = Vec::new();
    let text = comment.trim_start_matches(['/', '!', '#', ' ']);
    if let Some((head, _)) = text.split_once(':') {
        cited.extend(list_of_tags(head).into_iter().map(|tag| (tag, false)));
    }
    for (open, close) in [('[', ']'), ('(', ')')] {
        for (start, _) in comment.match_indices(open) {
            if let Some((inside, _)) = comment[start + 1..].split_once(close) {
                cited.extend(list_of_tags(inside).into_iter().map(|tag| (tag, open == '[')));
            }
        }
    }
    cited
}

/// The tags of `M7`, `M1, M6`, `M1 and M6`, `R3 to R6`; none if there is anything else.
fn list_of_tags(text: &str) -> Vec<String> {
    let mut tags = Vec::new();
    for part in text.split(", ").flat_map(|part| part.split(" and ")) {
        let (first, last) = part.split_once(" to ").unwrap_or((part, part));
        match (tag(first), tag(last)) {
            (Some((letters, from)), Some((same, to))) if letters == same => {
                tags.extend((from..=to).map(|number| format!("{letters}{number}")));
            }
            _ => return Vec::new(),
        }
    }
    tags
}

/// One or two capital letters, then a number without leading zero: `M7`, `PF12`.
fn tag(text: &str) -> Option<(&str, u16)> {
    let number = text.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let letters = &text[..text.len() - number.len()];
    let in_form = (1..=2).contains(&letters.len())
        && (1..=3).contains(&number.len())
        && !number.starts_with('0')
        && number.bytes().all(|byte| byte.is_ascii_digit());
    if in_form { Some((letters, number.parse().ok()?)) } else { None }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" {
            list(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

const CHECKER: &str = "tests/src/tags.rs";

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let mut tags = Tags::default();
        for (name, text) in files {
            tags.add(name, kind(name).expect("the file counts"), text);
        }
        tags.faults().iter().map(ToString::to_string).collect()
    }

    const CHAPTER: (&str, &str) = ("spec/01-membership.md", "**[M1]** A member MUST join.\n");

    #[test]
    fn a_tag_with_code_and_test_is_in_order() {
        let code = ("client/core/src/group/consumer.rs", "    /// [M1]: joins.\n");
        let test = ("client/core/tests/membership.rs", "// Shows [M1].\n");
        assert_eq!(faults(&[CHAPTER, code, test]), [""; 0]);
    }

    #[test]
    fn a_rule_and_the_tests_below_code_count_as_tests() {
        let code = "// [M1]\n#[cfg(test)]\nmod tests {\n    // [M1]\n}\n";
        assert_eq!(faults(&[CHAPTER, ("client/src/lib.rs", code)]), [""; 0]);
        let rule = ("spec/src/rules/mod.rs", "/// [M1]\n");
        let code = ("client/src/lib.rs", "// [M1]\n");
        assert_eq!(faults(&[CHAPTER, code, rule]), [""; 0]);
    }

    #[test]
    fn code_below_the_declaration_of_a_test_file_is_code() {
        let code = "#[cfg(test)]\nmod tests;\n\n// [M1]\nfn join() {}\n";
        let told = faults(&[CHAPTER, ("client/src/lib.rs", code)]);
        assert_eq!(told, ["[M1] is cited by no test and no rule"]);
    }

    #[test]
    fn a_tag_that_nothing_cites_has_neither_code_nor_test() {
        let told = faults(&[CHAPTER]);
        assert_eq!(told, ["[M1] is cited by no code", "[M1] is cited by no test and no rule"]);
    }

    #[test]
    fn a_citation_outside_a_comment_does_not_count() {
        let code = ("client/src/lib.rs", "let x = table[M1];\n");
        assert_eq!(faults(&[CHAPTER, code]).len(), 2);
    }

    #[test]
    fn a_citation_of_an_unknown_tag_names_its_file() {
        let told = faults(&[("client/src/lib.rs", "fn f() {} // see [Q9]\n")]);
        assert_eq!(told, [r#"[Q9] is not in a chapter; see ["client/src/lib.rs"]"#]);
    }

    #[test]
    fn a_tag_that_is_defined_twice_names_both_places() {
        let told = faults(&[CHAPTER, ("spec/02-x.md", "\n* **[M1]** Again.\n")]);
        assert!(told[0].contains("spec/01-membership.md:1"), "{told:?}");
        assert!(told[0].contains("spec/02-x.md:2"), "{told:?}");
    }

    #[test]
    fn a_mention_within_a_chapters_sentence_defines_nothing() {
        assert_eq!(definition("as **[M1]** says"), None);
        assert_eq!(definition("[M1] says"), None);
        assert_eq!(definition("  - **[M12]** A member MUST"), Some("M12"));
    }

    #[test]
    fn an_unknown_tag_in_parentheses_is_a_fault_where_a_chapter_uses_its_letters() {
        let code =
            ("client/src/lib.rs", "/// Joins (M1); see the museum (B47).\n/// M9: leaves.\n");
        let told = faults(&[CHAPTER, code]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("[M9] is not in a chapter"), "{told:?}");
        assert_eq!(told[1], "[M1] is cited by no test and no rule");
    }

    fn cited(line: &str) -> Vec<String> {
        citations(line).into_iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn links_and_indexes_are_no_tags() {
        let none = "/// [`Group`] [0] [M] [m7] [M07] [KIP848] [K3y] [M1234] (see M7) a M7: b";
        assert_eq!(cited(none), [""; 0]);
    }

    #[test]
    fn tags_are_found_in_brackets_in_parentheses_and_before_a_colon() {
        assert_eq!(cited("// as [M7] and (PF12) say"), ["M7", "PF12"]);
        assert_eq!(cited("    /// O5, O7: what the coordinator makes of it."), ["O5", "O7"]);
        assert_eq!(cited("/// R3 to R5: one pass (C2 and C3)."), ["R3", "R4", "R5", "C2", "C3"]);
        assert_eq!(cited("m0 -> Heartbeat     # M9: why"), ["M9"]);
    }
}
