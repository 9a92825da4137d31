//! Steps of degradation as a budget runs out.

use serde::Serialize;

/// Steps of load reduction, in order. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetStep {
    #[default]
    Normal,
    /// Analysis interval doubled.
    LongerIntervals,
    /// Full frames only, no enlarged regions.
    FewerRegions,
    /// Panel discussions paused.
    PanelOff,
    /// Analysts of low priority get no hosted model.
    LowPriorityOff,
    /// No analyst gets a hosted model.
    OfflineOnly,
}

impl BudgetStep {
    pub const ALL: [Self; 6] = [
        Self::Normal,
        Self::LongerIntervals,
        Self::FewerRegions,
        Self::PanelOff,
        Self::LowPriorityOff,
        Self::OfflineOnly,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::LongerIntervals => "longer_intervals",
            Self::FewerRegions => "fewer_regions",
            Self::PanelOff => "panel_off",
            Self::LowPriorityOff => "low_priority_off",
            Self::OfflineOnly => "offline_only",
        }
    }

    /// Human-readable description of the step.
    pub fn words(self) -> &'static str {
        match self {
            Self::Normal => "OK",
            Self::LongerIntervals => "analysis interval doubled",
            Self::FewerRegions => "full frames only",
            Self::PanelOff => "panel discussions paused",
            Self::LowPriorityOff => "low-priority analysts paused or offline",
            Self::OfflineOnly => "offline rules only",
        }
    }

    /// Used share of a budget at which the step begins.
    pub fn begins_at(self) -> f64 {
        match self {
            Self::Normal => 0.0,
            Self::LongerIntervals => 0.6,
            Self::FewerRegions => 0.7,
            Self::PanelOff => 0.8,
            Self::LowPriorityOff => 0.9,
            Self::OfflineOnly => 1.0,
        }
    }

    /// Next step at the used share: up at once, down with hysteresis.
    pub(super) fn next(self, used: f64) -> Self {
        const ROOM: f64 = 0.1;
        let reached = |used: f64| {
            let mut steps = Self::ALL.into_iter().rev();
            steps.find(|step| used >= step.begins_at())
        };
        let up = reached(used).unwrap_or_default();
        let down = reached(used + ROOM).unwrap_or_default();
        if up > self { up } else { self.min(down) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_at_once_and_down_with_room_to_spare() {
        let mut step = BudgetStep::Normal;
        let mut at = |used| {
            step = step.next(used);
            step
        };
        assert_eq!(at(0.59), BudgetStep::Normal);
        assert_eq!(at(0.6), BudgetStep::LongerIntervals);
        assert_eq!(at(0.95), BudgetStep::LowPriorityOff);
        assert_eq!(at(0.85), BudgetStep::LowPriorityOff);
        assert_eq!(at(0.79), BudgetStep::PanelOff);
        assert_eq!(at(1.0), BudgetStep::OfflineOnly);
        assert_eq!(at(0.91), BudgetStep::OfflineOnly);
        assert_eq!(at(0.0), BudgetStep::Normal);
    }
}
