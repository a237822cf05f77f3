//! Writes the API's description without white space: the file in the repository is laid out for its readers, and white space is a fifth
//! of what it adds to the compressed Worker.

use std::{env, error::Error, fs, path::PathBuf};

const DESCRIPTION: &str = "../crates/protocol/openapi.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DESCRIPTION}");
    let document: serde_json::Value = serde_json::from_str(&fs::read_to_string(DESCRIPTION)?)?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("openapi.json"), format!("{document}\n"))?;
    Ok(())
}
