use std::fmt;
use std::ops::{Deref, DerefMut};

/// A list that needs no memory of its own for its first `N` elements. Lists that nearly always have one or two
/// elements are of this type, because an allocation costs more than everything else that is done with them.
#[derive(Clone)]
pub struct Few<T, const N: usize> {
    inside: [T; N],
    /// How many of `inside` are used. Zero once the elements have moved.
    used: usize,
    /// All elements, if there are or were more than `N`.
    outside: Vec<T>,
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// Appends an element.
    #[inline]
    pub fn push(&mut self, element: T) {
        match self.inside.get_mut(self.used) {
            Some(place) if self.outside.is_empty() => {
                *place = element;
                self.used += 1;
            }
            _ => self.push_outside(element),
        }
    }

    #[cold]
    #[inline(never)]
    fn push_outside(&mut self, element: T) {
        let used = std::mem::take(&mut self.used);
        self.outside.extend_from_slice(self.inside.get(..used).unwrap_or_default());
        self.outside.push(element);
    }

    /// Removes the last element.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.outside.is_empty() {
            self.used = self.used.checked_sub(1)?;
            return self.inside.get(self.used).copied();
        }
        self.outside.pop()
    }

    /// Removes the element at `index`, if there is one.
    pub fn remove(&mut self, index: usize) {
        let len = self.len();
        if index < len {
            self.copy_within(index + 1.., index);
            self.pop();
        }
    }
}

impl<T: Copy + Default, const N: usize> Default for Few<T, N> {
    #[inline]
    fn default() -> Self {
        Self { inside: [T::default(); N], used: 0, outside: Vec::new() }
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        if self.outside.is_empty() { self.inside.get(..self.used).unwrap_or_default() } else { &self.outside }
    }
}

impl<T, const N: usize> DerefMut for Few<T, N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        if self.outside.is_empty() {
            self.inside.get_mut(..self.used).unwrap_or_default()
        } else {
            &mut self.outside
        }
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a Few<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Copy + Default, const N: usize> Extend<T> for Few<T, N> {
    #[inline]
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        for element in elements {
            self.push(element);
        }
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for Few<T, N> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut few = Self::default();
        few.extend(elements);
        few
    }
}

impl<T: PartialEq, const N: usize> PartialEq for Few<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for Few<T, N> {}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Few<T, N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_list_like_any_other(steps in proptest::collection::vec((0_u8..4, 0_usize..6), 0..40)) {
            let (mut few, mut list) = (Few::<usize, 2>::default(), Vec::new());
            for (step, number) in steps {
                match step {
                    0 => prop_assert_eq!(few.pop(), list.pop()),
                    1 => {
                        few.remove(number);
                        if number < list.len() {
                            list.remove(number);
                        }
                    }
                    _ => {
                        few.push(number);
                        list.push(number);
                    }
                }
                prop_assert_eq!(&*few, &*list);
                prop_assert_eq!(few.last_mut().copied(), list.last().copied());
            }
            prop_assert_eq!(&list.iter().copied().collect::<Few<usize, 2>>(), &few);
        }
    }
}
