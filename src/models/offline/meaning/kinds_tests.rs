//! Screens of kinds: what is told of a row, a badge or an event, and the healthy
//! screens beside it that stay quiet.

use super::tests::titles;

#[test]
fn share_of_what_should_be_well_is_missing_and_one_of_a_limit_is_used() {
    let workloads = |ready: &str| {
        format!(
            "\
Workload    Ready    Restarts    Region
cart        3/3      0           eu-1
search      {ready}      0           eu-1
mailer      2/2      1           eu-1"
        )
    };
    assert_eq!(titles(&workloads("0/4")), ["search: 0/4 ready"]);
    assert_eq!(titles(&workloads("1/4")), ["search: 1/4 ready"]);
    assert_eq!(titles(&workloads("3/4")), [""; 0]);
    let pools = |used: &str| {
        format!(
            "\
Database     Connections    Locks    Region
ledger-db    {used}      3        eu-1
cart-db      41 / 500       0        eu-1
mail-db      38 / 500       1        eu-1"
        )
    };
    assert_eq!(titles(&pools("498 / 500")), ["ledger-db: 498 / 500 usage"]);
    assert_eq!(titles(&pools("298 / 500")), [""; 0]);
    let steps = "\
Course         Completed    Pages    Region
First aid      0/4          12       eu-1
Fire drill     1/9          40       eu-1
Data privacy   9/9          31       eu-1";
    assert_eq!(titles(steps), [""; 0]);
}

#[test]
fn safeguard_that_is_off_is_told_and_any_other_switch_is_not() {
    let devices = |head: &str, value: &str| {
        format!(
            "\
Device      Owner      {head}    Last contact
nb-0387     k.lind     {value}            today
nb-0411     a.sand     On             today
nb-0602     r.moor     On             today"
        )
    };
    assert_eq!(
        titles(&devices("Disk encryption", "Off")),
        ["nb-0387: Disk encryption off"]
    );
    assert_eq!(
        titles(&devices("Tamper protection", "Disabled")),
        ["nb-0387: Tamper protection disabled"]
    );
    assert_eq!(titles(&devices("Disk encryption", "On")), [""; 0]);
    assert_eq!(titles(&devices("Camera at night", "Off")), [""; 0]);
    let settings = devices("Disk encryption", "Off");
    assert_eq!(titles(&format!("Settings\n\n{settings}")), [""; 0]);
}

#[test]
fn attack_that_was_let_through_is_told_and_a_blocked_one_is_not() {
    let log = |action: &str| {
        format!(
            "\
Time        Client          Kind             Action
10:04:12    198.51.100.7    SQL injection    {action}
10:04:31    192.0.2.41      Health check     Allowed
10:05:02    192.0.2.18      Page view        Allowed"
        )
    };
    assert_eq!(
        titles(&log("Allowed")),
        ["198.51.100.7: SQL injection, allowed"]
    );
    assert_eq!(titles(&log("Blocked")), [""; 0]);
}

#[test]
fn turned_off_safeguard_is_an_event_and_a_turned_on_one_is_none() {
    let audit = |event: &str| {
        format!(
            "\
Time        Event                    Account     Outcome
10:12:40    Session was opened       m.hall      Success
10:09:31    {event}    j.okafor    Success
10:06:11    Session was closed       m.hall      Success"
        )
    };
    assert_eq!(
        titles(&audit("Second factor removed")),
        ["j.okafor: Second factor removed"]
    );
    assert_eq!(titles(&audit("Second factor added  ")), [""; 0]);
}

#[test]
fn columns_of_a_board_are_no_row() {
    let board = "\
To do                  In progress             Done
Rotate the keys        Card payments slow      Checkout is down
Disk full alerts       Upgrade of the proxy    Login is unreachable
Retry failed exports   Tidy the runbooks       Search is degraded";
    assert_eq!(titles(board), [""; 0]);
}

#[test]
fn row_is_named_by_the_column_that_tells_rows_apart() {
    let routes = "\
Route      Model       Zone    State
support    large-v3    eu-1    Ready
review     large-v3    eu-1    {red}Not ready
search     small-v2    eu-2    Ready";
    assert_eq!(titles(routes), ["review: Not ready"]);
    let machines = "\
Name    Pool       Zone    State
m-01    general    eu-1    Ready
m-02    general    eu-1    {red}Not ready
m-03    general    eu-2    Ready";
    assert_eq!(titles(machines), ["m-02: Not ready"]);
}

#[test]
fn what_is_left_is_measured_by_the_words_of_its_value() {
    let certificates = |left: &str| {
        format!(
            "\
Common name       Issuer      State
ldap.example      Acorn CA    {left}
mail.example      Acorn CA    Valid
shop.example      Acorn CA    Valid"
        )
    };
    assert_eq!(
        titles(&certificates("4 days left")),
        ["ldap.example: 4 days left until expiry"]
    );
    assert_eq!(titles(&certificates("214 days left")), [""; 0]);
}

#[test]
fn notification_that_names_a_state_is_no_state() {
    for text in [
        "Credentials expired Tell admins when credentials of a connection are expired",
        "Not resolved yet is a state that a ticket may have",
    ] {
        assert_eq!(titles(text), [""; 0], "{text}");
    }
}
