use crate::base::ErrorClass;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::Words;

/// The failures that are listed.
pub(super) fn classes(words: &Words, at: &Trail<'_>, mistakes: &mut Mistakes) -> Vec<ErrorClass> {
    let mut listed = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        match failure(word, &listed) {
            Ok(class) => listed.push(class),
            Err(problem) => mistakes.add(&at.item(index), problem),
        }
    }
    listed
}

fn failure(word: &str, listed: &[ErrorClass]) -> Result<ErrorClass, String> {
    let allowed = ErrorClass::ALL.into_iter().filter(|class| *class != ErrorClass::ClientAbort);
    match ErrorClass::from_name(word) {
        Some(ErrorClass::ClientAbort) => {
            Err(String::from("`client_abort` cannot be a reason: nobody is left to answer"))
        }
        Some(class) if listed.contains(&class) => Err(format!("`{word}` is listed twice")),
        Some(class) => Ok(class),
        None => Err(format!("`{}` is no failure{}", shown(word), hint(word, allowed.map(ErrorClass::name)))),
    }
}
