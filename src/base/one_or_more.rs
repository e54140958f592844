use std::ops::{Deref, DerefMut};

/// A list that nearly always has at most one element, and then needs no memory of its own.
#[derive(Debug, Clone)]
pub struct OneOrMore<T> {
    one: Option<T>,
    /// All elements, if there are more.
    more: Vec<T>,
}

impl<T> OneOrMore<T> {
    /// The empty list.
    pub const fn new() -> Self {
        Self { one: None, more: Vec::new() }
    }

    /// Appends an element.
    pub fn push(&mut self, element: T) {
        if self.is_empty() {
            self.one = Some(element);
        } else {
            self.more.extend(self.one.take());
            self.more.push(element);
        }
    }
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for OneOrMore<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        if self.more.is_empty() { self.one.as_slice() } else { &self.more }
    }
}

impl<T> DerefMut for OneOrMore<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.more.is_empty() { self.one.as_mut_slice() } else { &mut self.more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_kept_in_order() {
        let mut list = OneOrMore::new();
        for count in 0..5 {
            assert_eq!(&*list, &[1, 2, 3, 4, 5][..count]);
            list.push(count);
            if let Some(last) = list.last_mut() {
                *last += 1;
            }
        }
    }
}
