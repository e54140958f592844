//! The module's allocator: gives freed blocks out again without a search.
//!
//! A request takes about 16 small blocks, and frees them before the next one takes the same sizes. The general allocator
//! searches its bins for each, and joins neighbours with each that is freed. Here blocks of one size are a list.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

/// Blocks are this many bytes long, or a multiple of it. It is also the most that a block is aligned to.
const STEP: usize = 16;
/// The longest block that is kept: the usual body and the usual record fit.
const MAX_BLOCK: usize = 2304;
const SIZES: usize = MAX_BLOCK / STEP + 1;
/// The most bytes that are kept. What is freed beyond them goes back to the general allocator.
const MAX_KEPT: usize = 128 * 1024;

/// A freed block begins with the next one of its list.
struct Free {
    next: Option<NonNull<Free>>,
}

/// Lists of freed blocks, in front of the general allocator.
pub struct Pool {
    lists: [Cell<Option<NonNull<Free>>>; SIZES],
    kept: Cell<usize>,
}

#[cfg(target_family = "wasm")]
#[global_allocator]
static POOL: Pool = Pool::new();

// SAFETY: a Wasm VM has one thread. Elsewhere there is no pool that several threads could see.
#[cfg(target_family = "wasm")]
unsafe impl Sync for Pool {}

impl Pool {
    const fn new() -> Self {
        Self { lists: [const { Cell::new(None) }; SIZES], kept: Cell::new(0) }
    }

    /// The list for blocks of this layout, and what these are. `None` if they are not kept.
    #[inline(always)]
    fn list(&self, layout: Layout) -> Option<(&Cell<Option<NonNull<Free>>>, Layout)> {
        if layout.size() > MAX_BLOCK || layout.align() > STEP {
            return None;
        }
        let steps = layout.size().div_ceil(STEP);
        let block = Layout::from_size_align(steps * STEP, STEP).ok()?;
        Some((self.lists.get(steps)?, block))
    }
}

// SAFETY: a block comes from the general allocator, with the layout of its list, and is in a list or given out, never both.
// A list has blocks of one size and of the greatest alignment that it is used for.
unsafe impl GlobalAlloc for Pool {
    // Not inlined, because then it would be at each place that allocates.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, block)) = self.list(layout) else {
            // SAFETY: the caller's promises are the same.
            return unsafe { System.alloc(layout) };
        };
        let Some(free) = list.get() else {
            // SAFETY: the size is not zero, because that of `layout` is not.
            return unsafe { System.alloc(block) };
        };
        // SAFETY: a block in a list is not given out, and begins with the next one.
        list.set(unsafe { free.as_ref() }.next);
        self.kept.set(self.kept.get().wrapping_sub(block.size()));
        free.as_ptr().cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some((list, block)) = self.list(layout) else {
            // SAFETY: blocks of this layout are those of the general allocator.
            return unsafe { System.dealloc(at, layout) };
        };
        let kept = self.kept.get().wrapping_add(block.size());
        let Some(free) = NonNull::new(at.cast::<Free>()).filter(|_| kept <= MAX_KEPT) else {
            // SAFETY: the block was allocated with this layout.
            return unsafe { System.dealloc(at, block) };
        };
        self.kept.set(kept);
        // SAFETY: the block is at least a step long and aligned to it, and it is not used any more.
        unsafe { free.write(Free { next: list.get() }) };
        list.set(Some(free));
    }

    #[inline(never)]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        match (self.list(layout), self.list(new)) {
            // SAFETY: blocks of both layouts are those of the general allocator.
            (None, None) => unsafe { System.realloc(at, layout, size) },
            (Some((_, old)), Some((_, block))) if old == block => at,
            _ => {
                // SAFETY: the caller's promises hold for the new block and for the old one, and these do not overlap.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(at, layout.size().min(size));
                        self.dealloc(at, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block that is given out, filled with its own number.
    struct Given {
        at: *mut u8,
        layout: Layout,
        filling: u8,
    }

    impl Given {
        fn of(pool: &Pool, size: usize, align: usize, filling: u8) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            let at = unsafe { pool.alloc(layout) };
            assert!(at.addr().is_multiple_of(align));
            let given = Self { at, layout, filling };
            given.fill();
            given
        }

        fn fill(&self) {
            unsafe { self.at.write_bytes(self.filling, self.layout.size()) };
        }

        fn has(&self, bytes: usize) -> bool {
            let content = unsafe { std::slice::from_raw_parts(self.at, bytes) };
            content.iter().all(|byte| *byte == self.filling)
        }

        fn free(self, pool: &Pool) {
            assert!(self.has(self.layout.size()), "another block has overwritten it");
            unsafe { pool.dealloc(self.at, self.layout) };
        }
    }

    #[test]
    fn a_freed_block_is_given_out_again() {
        let pool = Pool::new();
        for size in [1, STEP, STEP + 1, MAX_BLOCK] {
            let first = Given::of(&pool, size, 1, 1);
            let at = first.at;
            first.free(&pool);
            let second = Given::of(&pool, size, 8, 2);
            assert_eq!(second.at, at);
            second.free(&pool);
        }
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let pool = Pool::new();
        let blocks = MAX_KEPT / 1024 + 10;
        let given: Vec<_> = (0..blocks).map(|at| Given::of(&pool, 1024, 8, at as u8)).collect();
        for block in given {
            block.free(&pool);
            assert!(pool.kept.get() <= MAX_KEPT);
        }
        assert_eq!(pool.kept.get(), MAX_KEPT);
        Given::of(&pool, MAX_BLOCK + 1, 8, 1).free(&pool);
        Given::of(&pool, STEP, 2 * STEP, 1).free(&pool);
        assert_eq!(pool.kept.get(), MAX_KEPT, "long blocks and those of another alignment are not kept");
    }

    proptest! {
        #[test]
        fn blocks_never_overlap(steps in prop::collection::vec(
            (0..3_u8, any::<prop::sample::Index>(), 1..3 * MAX_BLOCK, 0..6_u32), 1..200
        )) {
            let pool = Pool::new();
            let mut given: Vec<Given> = Vec::new();
            for (number, (what, which, size, align)) in steps.into_iter().enumerate() {
                match what {
                    0 if !given.is_empty() => given.swap_remove(which.index(given.len())).free(&pool),
                    1 if !given.is_empty() => {
                        let block = which.get_mut(&mut given);
                        let old = block.layout;
                        block.at = unsafe { pool.realloc(block.at, old, size) };
                        block.layout = Layout::from_size_align(size, old.align()).unwrap();
                        prop_assert!(block.has(old.size().min(size)), "its content comes along");
                        block.fill();
                    }
                    _ => given.push(Given::of(&pool, size, 1 << align, number as u8)),
                }
            }
            for block in given {
                block.free(&pool);
            }
        }
    }
}
