//! What a reload or `apply` would do, one change a line.

use crate::model::control::Plan;

/// Appends the changes; warnings and who has to wait are for another place.
pub fn plan(out: &mut String, plan: &Plan) {
    for step in &plan.steps {
        out.push_str(step);
        out.push('\n');
    }
    for address in &plan.put {
        out.push_str(&format!("put address {} on {}\n", address.address, address.device));
    }
    for address in &plan.take {
        out.push_str(&format!("take address {} off {}\n", address.address, address.device));
    }
}
