//! What of a crate is public, without bodies, documentation and what is private.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use syn::{
    Attribute, Block, Field, Fields, ImplItem, ImplItemConst, Item, ItemConst, ItemImpl, ItemMacro, UseTree, Variant, Visibility,
    parse_quote,
    visit_mut::{self, VisitMut},
};

use super::crate_source::{CrateSource, is_left_out};

/// Public items by their paths, each as text.
pub(super) struct Outline(BTreeMap<String, String>);

impl Outline {
    pub(super) fn of(source: &CrateSource) -> Self {
        let mut outline = Self(BTreeMap::new());
        outline.add_module(source, &[], "");
        outline
    }

    /// Adds what a module shows, under its public path.
    fn add_module(&mut self, source: &CrateSource, module: &[String], shown_at: &str) {
        for item in source.items(module) {
            if let Item::Macro(item) = item {
                self.add_macro(item);
            }
            if !is_public(item) || is_left_out(attributes(item)) {
                continue;
            }
            match item {
                Item::Use(item) => self.add_use(source, module, shown_at, &item.tree, &[]),
                Item::Mod(item) => {
                    let below = [module, &[item.ident.to_string()]].concat();
                    self.add_module(source, &below, &format!("{shown_at}{}::", item.ident));
                }
                item => self.add_item(source, shown_at, item),
            }
        }
    }

    /// Adds what is re-exported: an item of the crate as itself, one of another crate as its path.
    fn add_use(&mut self, source: &CrateSource, module: &[String], shown_at: &str, tree: &UseTree, path: &[String]) {
        match tree {
            UseTree::Path(tree) => {
                let path = [path, &[tree.ident.to_string()]].concat();
                self.add_use(source, module, shown_at, &tree.tree, &path);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(source, module, shown_at, tree, path));
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                match find(source, module, path, &name) {
                    Some(item) => self.add_item(source, shown_at, item),
                    None => self.note_use(shown_at, path, &name, &name),
                }
            }
            UseTree::Rename(rename) => {
                self.note_use(shown_at, path, &rename.ident.to_string(), &rename.rename.to_string());
            }
            UseTree::Glob(_) => self.note_use(shown_at, path, "*", "*"),
        }
    }

    fn note_use(&mut self, shown_at: &str, path: &[String], name: &str, shown: &str) {
        let origin = [path, &[name.to_owned()]].concat().join("::");
        let text = if name == shown { format!("pub use {origin};") } else { format!("pub use {origin} as {shown};") };
        self.0.insert(format!("{shown_at}{shown}"), text);
    }

    fn add_item(&mut self, source: &CrateSource, shown_at: &str, item: &Item) {
        let Some(name) = name_of(item) else { return };
        let mut text = print(item.clone());
        if matches!(item, Item::Struct(_) | Item::Enum(_) | Item::Type(_)) {
            let mut implementations: Vec<_> =
                source.implementations(&name).filter_map(bare).map(|item| print(Item::Impl(item))).collect();
            implementations.sort();
            implementations.dedup();
            text += &implementations.concat();
        }
        self.0.insert(format!("{shown_at}{name}"), text);
    }

    /// Adds an exported macro by what it takes. Rules that begin with `@` are its own.
    fn add_macro(&mut self, item: &ItemMacro) {
        let is_exported = item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
        let Some(name) = item.ident.as_ref().filter(|_| is_exported) else { return };
        let mut rules = Vec::new();
        let mut tokens = item.mac.tokens.clone().into_iter();
        while let Some(matcher) = tokens.next() {
            rules.push(matcher.to_string());
            // The arrow, and what it becomes.
            tokens.by_ref().take_while(|token| token.to_string() != ";").for_each(drop);
        }
        rules.retain(|rule| !rule.contains('@'));
        let rules: String = rules.iter().map(|rule| format!("    {rule}\n")).collect();
        self.0.insert(format!("{name}!"), format!("macro_rules! {name}\n{rules}"));
    }
}

impl Display for Outline {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (path, text) in &self.0 {
            writeln!(formatter, "## {path}\n{}\n", text.trim_end())?;
        }
        Ok(())
    }
}

/// The item of the crate that a path of a module names.
fn find<'a>(source: &'a CrateSource, module: &[String], path: &[String], name: &str) -> Option<&'a Item> {
    let within = match path.split_first() {
        Some((first, rest)) if first == "crate" => rest.to_vec(),
        Some((first, rest)) if first == "self" => [module, rest].concat(),
        _ => [module, path].concat(),
    };
    if !source.is_module(&within) {
        return None;
    }
    let own = source.items(&within).iter().find(|item| name_of(item).is_some_and(|known| known == name));
    own.or_else(|| {
        // It may pass it on from a module of its own.
        source.items(&within).iter().find_map(|item| match item {
            Item::Use(item) => passed_on(source, &within, &item.tree, &[], name),
            _ => None,
        })
    })
}

fn passed_on<'a>(source: &'a CrateSource, module: &[String], tree: &UseTree, path: &[String], name: &str) -> Option<&'a Item> {
    match tree {
        UseTree::Path(tree) => passed_on(source, module, &tree.tree, &[path, &[tree.ident.to_string()]].concat(), name),
        UseTree::Group(group) => group.items.iter().find_map(|tree| passed_on(source, module, tree, path, name)),
        UseTree::Name(found) if found.ident == name => find(source, module, path, name),
        UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => None,
    }
}

/// An implementation without bodies and what is private; `None` where nothing is left of it.
fn bare(item: &ItemImpl) -> Option<ItemImpl> {
    let mut item = item.clone();
    if item.trait_.is_some() {
        item.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return Some(item);
    }
    item.items.retain(|item| match item {
        ImplItem::Fn(item) => matches!(item.vis, Visibility::Public(_)) && !is_left_out(&item.attrs),
        ImplItem::Const(item) => matches!(item.vis, Visibility::Public(_)),
        _ => false,
    });
    (!item.items.is_empty()).then_some(item)
}

fn print(mut item: Item) -> String {
    Bare.visit_item_mut(&mut item);
    prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items: vec![item] })
}

/// Takes away what is no part of the surface.
struct Bare;

impl VisitMut for Bare {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
        attributes
            .retain(|attribute| ["derive", "non_exhaustive", "must_use"].iter().any(|name| attribute.path().is_ident(name)));
    }

    fn visit_fields_mut(&mut self, fields: &mut Fields) {
        match fields {
            Fields::Named(fields) => {
                let all = fields.named.len();
                fields.named = fields.named.iter().filter(|field| is_shown(field)).cloned().collect();
                if fields.named.len() < all {
                    // Without it the type could be made by naming its fields.
                    fields.named.push(parse_quote!(_private: _));
                }
            }
            Fields::Unnamed(fields) => {
                fields.unnamed.iter_mut().filter(|field| !is_shown(field)).for_each(|field| field.ty = parse_quote!(_))
            }
            Fields::Unit => {}
        }
        visit_mut::visit_fields_mut(self, fields);
    }

    fn visit_variant_mut(&mut self, variant: &mut Variant) {
        // The fields of a variant are public without saying so.
        self.visit_attributes_mut(&mut variant.attrs);
        variant.fields.iter_mut().for_each(|field| self.visit_field_mut(field));
    }

    fn visit_block_mut(&mut self, block: &mut Block) {
        block.stmts.clear();
    }

    fn visit_item_const_mut(&mut self, constant: &mut ItemConst) {
        self.visit_attributes_mut(&mut constant.attrs);
        *constant.expr = parse_quote!(_);
    }

    fn visit_impl_item_const_mut(&mut self, constant: &mut ImplItemConst) {
        self.visit_attributes_mut(&mut constant.attrs);
        constant.expr = parse_quote!(_);
    }
}

fn is_shown(field: &Field) -> bool {
    matches!(field.vis, Visibility::Public(_))
}

macro_rules! of_item {
    ($item:expr, $found:ident => $value:expr) => {
        match $item {
            Item::Const($found) => Some($value),
            Item::Enum($found) => Some($value),
            Item::Mod($found) => Some($value),
            Item::Static($found) => Some($value),
            Item::Struct($found) => Some($value),
            Item::Trait($found) => Some($value),
            Item::Type($found) => Some($value),
            Item::Union($found) => Some($value),
            _ => None,
        }
    };
}

fn name_of(item: &Item) -> Option<String> {
    match item {
        Item::Fn(item) => Some(item.sig.ident.to_string()),
        item => of_item!(item, item => item.ident.to_string()),
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        item => of_item!(item, item => item.attrs.as_slice()).unwrap_or_default(),
    }
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Fn(item) => Some(&item.vis),
        Item::Use(item) => Some(&item.vis),
        item => of_item!(item, item => &item.vis),
    };
    matches!(visibility, Some(Visibility::Public(_)))
}
