/// Whether breakers and rules act or only count what they would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They act.
    #[default]
    Enforce,
    /// They only count.
    Shadow,
}
