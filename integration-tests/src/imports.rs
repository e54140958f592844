//! Which files of a crate import each other in a circle, read from their text.
//!
//! A file imports the files that declare what its `use` lines and its paths name, outside of `mod tests`.
//! `mod x;` and `pub use` import nothing: a name that was re-exported leads to the file that declares it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

/// The names of a path. That of a module begins at the root, such as `["crate", "base"]`.
type Path = Vec<String>;

/// Every set of files that all import each other, directly or by way of the others. `files` has the text of each
/// file, without comments, by its name, such as `src/base/ids.rs`.
pub fn circles(files: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let tree = Tree(files.iter().map(|(name, text)| (module_of(name), Module::read(name, text))).collect());
    let imports: BTreeMap<_, _> = tree.0.iter().map(|(at, module)| (module.file, tree.imports(at))).collect();
    let reached: BTreeMap<_, _> = imports.keys().map(|file| (*file, reached_from(file, &imports))).collect();
    let in_a_circle = reached.iter().filter(|(file, reach)| reach.contains(*file));
    let found: BTreeSet<Vec<String>> = in_a_circle
        .map(|(file, reach)| reach.iter().filter(|other| reached[*other].contains(file)))
        .map(|circle| circle.map(|file| (*file).to_owned()).collect())
        .collect();
    found.into_iter().collect()
}

fn reached_from<'a>(file: &'a str, imports: &BTreeMap<&str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        next.extend(imports[file].iter().filter(|imported| reached.insert(**imported)));
    }
    reached
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are both the module `crate::a::b`.
fn module_of(file: &str) -> Path {
    let names = file.trim_start_matches("src/").trim_end_matches(".rs").split('/');
    let names = names.filter(|name| !matches!(*name, "lib" | "mod"));
    iter::once("crate").chain(names).map(String::from).collect()
}

struct Module<'a> {
    file: &'a str,
    /// What its `use` lines and its other code name.
    imports: Vec<Path>,
    /// What it re-exports, by the name there.
    exports: BTreeMap<String, Path>,
}

impl<'a> Module<'a> {
    fn read(file: &'a str, text: &str) -> Self {
        let mut module = Self { file, imports: Vec::new(), exports: BTreeMap::new() };
        let mut lines = text.lines().take_while(|line| *line != "mod tests {");
        while let Some(line) = lines.next() {
            match use_line(line) {
                Some((is_public, begin)) => {
                    let mut tree = begin.to_owned();
                    while !tree.contains(';') {
                        tree.push_str(lines.next().expect("a `use` ends with a semicolon"));
                    }
                    let names = expand(&[], tree.trim().trim_end_matches(';'));
                    if is_public {
                        module.exports.extend(names);
                    } else {
                        module.imports.extend(names.into_iter().map(|(_, path)| path));
                    }
                }
                None => {
                    let words = line.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':'));
                    module.imports.extend(words.filter(|word| word.contains("::")).map(path_of));
                }
            }
        }
        module
    }
}

/// Whether a `use` is public, and how its tree begins.
fn use_line(line: &str) -> Option<(bool, &str)> {
    let (visibility, tree) = line.trim_start().split_once("use ")?;
    match visibility.trim_end() {
        "" => Some((false, tree)),
        "pub" | "pub(crate)" | "pub(super)" => Some((true, tree)),
        _ => None,
    }
}

/// The names that the tree of a `use` brings in, and their paths.
fn expand(before: &[String], tree: &str) -> Vec<(String, Path)> {
    if let Some((head, group)) = tree.split_once('{') {
        let before = [before, &path_of(head)].concat();
        let group = group.trim_end().trim_end_matches(',').strip_suffix('}').expect("a group is closed");
        let mut depth = 0;
        let parts = group.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        return parts.flat_map(|part| expand(&before, part.trim())).collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
    let mut path = [before, &path_of(path)].concat();
    path.pop_if(|last| last == "self");
    path.last().map(|last| (alias.unwrap_or(last).to_owned(), path.clone())).into_iter().collect()
}

fn path_of(text: &str) -> Path {
    text.split("::").map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect()
}

struct Tree<'a>(BTreeMap<Path, Module<'a>>);

impl<'a> Tree<'a> {
    /// The other files that a module imports.
    fn imports(&self, at: &Path) -> BTreeSet<&'a str> {
        let module = &self.0[at];
        let files = module.imports.iter().filter_map(|path| self.declaring(path, at));
        files.filter(|file| *file != module.file).collect()
    }

    /// The file that declares what `path` names in the module `here`. `None` if it is not in the crate.
    fn declaring(&self, path: &[String], here: &Path) -> Option<&'a str> {
        let mut at = if path.first()? == "crate" { Path::new() } else { here.clone() };
        for (index, name) in path.iter().enumerate() {
            match name.as_str() {
                "self" => continue,
                "super" => drop(at.pop()),
                _ => at.push(name.clone()),
            }
            if self.0.contains_key(&at) {
                continue;
            }
            // Not a module, so an item of the module before it, or the first name of another crate's path.
            at.pop();
            let module = self.0.get(&at)?;
            return match module.exports.get(name) {
                Some(target) => self.declaring(&[target, &path[index + 1..]].concat(), &at),
                None => (index > 0).then_some(module.file),
            };
        }
        Some(self.0.get(&at)?.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let root = [("src/lib.rs", "")];
        let files = root.iter().chain(files).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        circles(&files.collect())
    }

    #[test]
    fn imports_in_one_direction_are_no_circle() {
        let files = [
            ("src/a.rs", "use crate::b::{B, c::C};\nuse std::rc::Rc;"),
            ("src/b/mod.rs", "use c::C;\nfn f() -> crate::d::D {}"),
            ("src/b/c.rs", "use crate::d;\nuse self::Kind::Small;"),
            ("src/d.rs", "fn a() {}"),
        ];
        assert!(circles_of(&files).is_empty());
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let circle = [["src/f/a.rs", "src/f/b.rs"]];
        for (in_a, in_b) in [
            ("use super::b::B;", "use super::a::A;"),
            ("use super::{\n    b::{self, B},\n    c,\n};", "pub(super) fn f() -> super::a::A {}"),
            ("fn f() { crate::f::b::g(1) }", "use crate::{f::{a as first, c}};"),
        ] {
            let files =
                [("src/f/mod.rs", ""), ("src/f/a.rs", in_a), ("src/f/b.rs", in_b), ("src/f/c.rs", "")];
            assert_eq!(circles_of(&files), circle, "{in_a} {in_b}");
        }
    }

    #[test]
    fn a_circle_may_go_through_several_folders() {
        let files = [
            ("src/f/mod.rs", ""),
            ("src/f/a.rs", "use crate::g::G;"),
            ("src/g/mod.rs", "fn f() { inner::g() }"),
            ("src/g/inner.rs", "use crate::h;"),
            ("src/h.rs", "use crate::f::a::A;"),
            ("src/outside.rs", "use crate::h;"),
        ];
        assert_eq!(circles_of(&files), [["src/f/a.rs", "src/g/inner.rs", "src/g/mod.rs", "src/h.rs"]]);
    }

    #[test]
    fn separate_circles_are_told_apart() {
        let files = [
            ("src/a.rs", "use crate::b;"),
            ("src/b.rs", "use crate::a;\nuse crate::c;"),
            ("src/c.rs", "use crate::d;"),
            ("src/d.rs", "use crate::c;"),
        ];
        assert_eq!(circles_of(&files), [["src/a.rs", "src/b.rs"], ["src/c.rs", "src/d.rs"]]);
    }

    #[test]
    fn a_parent_that_declares_and_re_exports_its_children_imports_nothing() {
        let parent =
            "mod a;\npub mod b;\npub use a::{A, Kind as AKind};\npub(crate) use b::B;\npub struct Own;";
        let files = [("src/f/mod.rs", parent), ("src/f/a.rs", "use super::{B, Own};"), ("src/f/b.rs", "")];
        assert!(circles_of(&files).is_empty());
    }

    #[test]
    fn a_parent_that_calls_its_child_imports_it() {
        for parent in ["use a::A;", "fn f() { a::g() }"] {
            let files = [("src/f/mod.rs", parent), ("src/f/a.rs", "use super::Own;")];
            assert_eq!(circles_of(&files), [["src/f/a.rs", "src/f/mod.rs"]], "{parent}");
        }
    }

    #[test]
    fn a_re_export_does_not_hide_a_circle() {
        let files = [
            ("src/f/mod.rs", "pub use a::Kind as AKind;\npub use b::B;"),
            ("src/f/a.rs", "use super::B;"),
            ("src/f/b.rs", "fn f() -> super::AKind {}"),
        ];
        assert_eq!(circles_of(&files), [["src/f/a.rs", "src/f/b.rs"]]);
    }

    #[test]
    fn imports_of_test_modules_do_not_count() {
        let files = [
            ("src/a.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::b::B;\n}"),
            ("src/b.rs", "use crate::a::A;"),
        ];
        assert!(circles_of(&files).is_empty());
    }
}
