use crate::base::ErrorClass;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::Words;

/// The error classes in a list of words.
pub(super) fn classes(words: &Words, at: &Trail<'_>, mistakes: &mut Mistakes) -> Vec<ErrorClass> {
    let mut listed = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        match class(word, &listed) {
            Ok(class) => listed.push(class),
            Err(problem) => mistakes.add(&at.item(index), problem),
        }
    }
    listed
}

fn class(word: &str, listed: &[ErrorClass]) -> Result<ErrorClass, String> {
    let allowed = ErrorClass::ALL.into_iter().filter(|class| *class != ErrorClass::ClientAbort);
    match ErrorClass::from_name(word) {
        Some(ErrorClass::ClientAbort) => {
            Err(String::from("`client_abort` is not allowed here: the client is gone"))
        }
        Some(class) if listed.contains(&class) => Err(format!("`{word}` is listed twice")),
        Some(class) => Ok(class),
        None => Err(format!(
            "`{}` is not an error class{}",
            shown(word),
            hint(word, allowed.map(ErrorClass::name))
        )),
    }
}
