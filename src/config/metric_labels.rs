/// How the names of metrics contain their labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricLabels {
    /// Behind the name, as `stats_tags` of the shipped Envoy files read them.
    #[default]
    Envoy,
    /// Before the name, as Istio's `extraStatTags` read them.
    Istio,
}
