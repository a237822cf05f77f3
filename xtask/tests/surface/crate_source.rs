//! The sources of one crate, read as they are written.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item, ItemImpl, ItemMod, Type};

/// Every module of a crate, by its path from the root: `["handle", "files"]`.
pub(super) struct CrateSource {
    modules: BTreeMap<Vec<String>, Vec<Item>>,
}

impl CrateSource {
    /// Reads a crate from its root file.
    pub(super) fn read(root: &Path) -> Self {
        let mut source = Self { modules: BTreeMap::new() };
        source.read_file(root, root.parent().unwrap(), Vec::new());
        source
    }

    /// The items of a module.
    pub(super) fn items(&self, module: &[String]) -> &[Item] {
        self.modules.get(module).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_module(&self, path: &[String]) -> bool {
        self.modules.contains_key(path)
    }

    /// The implementations for a type of this name. Names of types are unique in a crate.
    pub(super) fn implementations(&self, name: &str) -> impl Iterator<Item = &ItemImpl> {
        let all = self.modules.values().flatten().filter_map(|item| match item {
            Item::Impl(item) if !is_left_out(&item.attrs) => Some(item),
            _ => None,
        });
        all.filter(move |item| name_of(&item.self_ty).is_some_and(|known| known == name))
    }

    fn read_file(&mut self, file: &Path, folder: &Path, path: Vec<String>) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(parsed.items, folder, path);
    }

    fn read_items(&mut self, items: Vec<Item>, folder: &Path, path: Vec<String>) {
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if is_left_out(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = [path.clone(), vec![name.clone()]].concat();
            match &module.content {
                Some((_, items)) => self.read_items(items.clone(), &folder.join(name), below),
                None => self.read_file(&file_of(module, folder), &folder.join(name), below),
            }
        }
        self.modules.insert(path, items);
    }
}

/// Whether an item is there for tests and fuzzing alone, or is not to be seen.
pub(super) fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is = |name: &str| attribute.path().is_ident(name);
        let text = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        is("cfg") && (text.contains("test") || text.contains("fuzzing")) || is("doc") && text == "hidden"
    })
}

/// The last segment of a type's path.
fn name_of(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        Type::Reference(reference) => name_of(&reference.elem),
        _ => None,
    }
}

fn file_of(module: &ItemMod, folder: &Path) -> PathBuf {
    let beside = folder.join(format!("{}.rs", module.ident));
    let within = folder.join(module.ident.to_string()).join("mod.rs");
    if within.is_file() { within } else { beside }
}
