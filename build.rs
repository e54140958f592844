//! Packs the model catalogue, so that it takes few bytes of the module.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

#[path = "src/catalogue/pack.rs"]
mod pack;

/// From the folder of the crate that this script is for, `src/catalogue`.
const MODELS: &str = "../../catalogue/models.tsv";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={MODELS}");
    println!("cargo:rerun-if-changed=pack.rs");
    let packed =
        pack::packed(&fs::read_to_string(MODELS)?).map_err(|problem| format!("{MODELS}: {problem}"))?;
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(PathBuf::from(folder).join("catalogue.bin"), packed)?;
    Ok(())
}
