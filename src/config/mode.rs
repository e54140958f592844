/// Whether a policy acts or only counts what it would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It acts.
    #[default]
    Enforce,
    /// It only counts what it would have done.
    Shadow,
}
