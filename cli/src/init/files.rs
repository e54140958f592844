//! Writes files, and replaces none unless it is told to.

use std::fs;
use std::io::Write as _;
use std::path::Path;

/// A file to write.
#[derive(Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its path in the folder.
    pub name: String,
    pub text: String,
    /// Who may read, write and execute it.
    pub mode: u32,
    /// Whether an existing file stays even if files may be replaced.
    pub stays: bool,
}

impl NewFile {
    /// A file that everybody may read.
    pub fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text, mode: 0o644, stays: false }
    }

    /// A program.
    pub fn executable(self) -> Self {
        Self { mode: 0o755, ..self }
    }

    /// A file with a secret: only its owner reads it, and nothing replaces it.
    pub fn secret(self) -> Self {
        Self { mode: 0o600, stays: true, ..self }
    }
}

/// Writes all files, or none if one exists.
pub fn write(folder: &Path, files: &[NewFile], force: bool) -> Result<(), String> {
    let paths: Vec<_> = files.iter().map(|file| folder.join(&file.name)).collect();
    let existing = paths.iter().find(|path| path.symlink_metadata().is_ok());
    if let Some(path) = existing.filter(|_| !force) {
        return Err(format!(
            "{}: exists already, and nothing was written; --force replaces it",
            path.display()
        ));
    }
    for (path, file) in paths.iter().zip(files).filter(|(path, file)| !(file.stays && path.exists())) {
        write_one(path, file).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Writes a new file beside the old one and renames it, so that nobody reads half a file and Envoy sees the change.
fn write_one(path: &Path, file: &NewFile) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(file.mode);
    }
    options.open(&new)?.write_all(file.text.as_bytes())?;
    fs::rename(&new, path)
}
