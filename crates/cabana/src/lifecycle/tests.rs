use proptest::prelude::*;

use super::*;
use Effect::{Ask, End, ExtendInactivityTimeout, Inquire, Resume, Start, Terminate, Wipe};
use State::{Created, Destroyed, Failed, Running, Sleeping, Starting, Stopping};

const RULES: Rules = Rules {
    sleep_after: Duration::from_secs(600),
    start_limit: Duration::from_secs(120),
    timings: Timings::DEFAULT,
    snapshots: false,
};
const BORN: Instant = Instant(1_000_000);

fn crash() -> Reason {
    Reason::Crashed { message: "killed".to_owned() }
}

/// A sandbox to which this has happened, each event a second after the one before.
fn after(policy: Policy, events: impl IntoIterator<Item = Event>) -> (Lifecycle, Instant) {
    let mut now = BORN;
    let life = events.into_iter().fold(Lifecycle::new(policy, now), |life, event| {
        now = now + Duration::from_secs(1);
        life.step(&RULES, event, now).0
    });
    (life, now)
}

fn in_state(state: State) -> Lifecycle {
    let way = match state {
        Created => vec![],
        Starting => vec![Event::Wake],
        Running => vec![Event::Wake, Event::Ready],
        Stopping => vec![Event::Wake, Event::Ready, Event::Stop],
        Sleeping => vec![Event::Wake, Event::Ready, Event::Stop, Event::Ended(crash())],
        Failed => vec![Event::Wake, Event::Ended(crash())],
        Destroyed => vec![Event::Destroy],
    };
    let life = after(Policy::default(), way).0;
    assert_eq!(life.state, state);
    life
}

#[test]
fn every_state_meets_every_event() {
    const STATES: [State; 7] = [Created, Starting, Running, Stopping, Sleeping, Failed, Destroyed];
    let start = Some((Starting, &[Start] as Effects));
    let resume = Some((Starting, &[Resume] as Effects));
    let stop = Some((Stopping, &[Terminate] as Effects));
    let fail = Some((Failed, &[End] as Effects));
    let sleep = Some((Sleeping, &[] as Effects));
    let destroyed = Some((Destroyed, &[End, Wipe] as Effects));
    let running = Some((Running, &[ExtendInactivityTimeout] as Effects));
    let inquire = Some((Running, &[Inquire] as Effects));
    let end = |state| Some((state, &[End] as Effects));
    // What each event makes of each state; `None` leaves it alone, without effects.
    #[rustfmt::skip]
    let table = [
        //                                      created    starting running  stopping sleeping failed destroyed
        (Event::Wake,                          [start,     None,    None,    None,    start,   start, None]),
        (Event::Ready,                         [None,      running, None,    None,    None,    None,  None]),
        (Event::Ended(crash()),                [None,      fail,    fail,    sleep,   None,    None,  None]),
        (Event::Unseen,                        [None;      7]),
        (Event::Stop,                          [None,      stop,    stop,    None,    None,    None,  None]),
        (Event::Loaded { container: true },    [end(Created), resume, running, end(Stopping), end(Sleeping), end(Failed), end(Destroyed)]),
        (Event::Loaded { container: false },   [None,      start,   inquire, sleep,   None,    None,  None]),
        (Event::Tick,                          [None,      None,    running, None,    None,    None,  None]),
        (Event::Destroy,                       [destroyed; 7]),
    ];
    for (event, row) in table {
        for (state, expected) in STATES.into_iter().zip(row) {
            let life = in_state(state);
            let now = life.since + Duration::from_millis(1);
            let (life, effects) = life.step(&RULES, event.clone(), now);
            assert_eq!((life.state, effects), expected.unwrap_or((state, &[])), "{state:?} x {event:?}");
        }
    }
}

#[test]
fn it_sleeps_when_nobody_asks_for_long_enough_and_its_agent_agrees() {
    let policy = Policy { sleep_after_ms: Some(5_000), ..Policy::default() };
    let (mut life, now) = after(policy, [Event::Wake, Event::Ready]);
    life.begin(now);
    assert_eq!(life.clone().step(&RULES, Event::Tick, now + Duration::from_secs(60)).1, [ExtendInactivityTimeout], "it is used");
    life.over(now);
    let due = now + Duration::from_secs(5);
    assert_eq!(life.deadlines(&RULES).get(Deadline::Sleep), Some(due));
    let (life, effects) = life.step(&RULES, Event::Tick, Instant(due.0 - 1));
    assert_eq!(effects, [ExtendInactivityTimeout]);
    let (life, effects) = life.step(&RULES, Event::Tick, due);
    assert_eq!((life.state, effects), (Running, &[Ask] as Effects));
    let asked = |busy, active_at| life.clone().step(&RULES, Event::Seen { busy, active_at }, due);
    assert_eq!(asked(true, now).0.deadlines(&RULES).get(Deadline::Sleep), Some(due + Duration::from_secs(5)));
    let later = now + Duration::from_secs(2);
    assert_eq!(asked(false, later).0.deadlines(&RULES).get(Deadline::Sleep), Some(later + Duration::from_secs(5)));
    let (life, effects) = asked(false, now);
    assert_eq!((life.state, &life.reason, effects), (Stopping, &Some(Reason::Idle), &[Terminate] as Effects));
    assert_eq!(life.step(&RULES, Event::Ended(Reason::Evicted), due).0.reason, Some(Reason::Idle));
}

#[test]
fn a_policy_that_is_set_again_begins_no_timer_anew() {
    let policy = Policy { sleep_after_ms: Some(5_000), max_lifetime_ms: Some(60_000), ..Policy::default() };
    let (life, now) = after(policy, [Event::Wake, Event::Ready]);
    let (same, effects) = life.clone().step(&RULES, Event::Configure(policy), now + Duration::from_secs(3));
    assert_eq!((same, effects), (life.clone(), &[] as Effects));
    let longer = Policy { sleep_after_ms: Some(9_000), ..policy };
    let (changed, effects) = life.clone().step(&RULES, Event::Configure(longer), now + Duration::from_secs(3));
    assert_eq!(effects, [ExtendInactivityTimeout]);
    assert_eq!(changed.deadlines(&RULES).get(Deadline::Sleep), Some(now + Duration::from_secs(9)));
}

#[test]
fn a_crashed_container_is_replaced_at_once() {
    let (life, now) = after(Policy::default(), [Event::Wake, Event::Ready]);
    let (life, effects) = life.step(&RULES, Event::Ended(crash()), now);
    assert_eq!((life.state, effects), (Failed, &[End] as Effects));
    let (life, effects) = life.step(&RULES, Event::Wake, now);
    assert_eq!((life.state, life.starts, effects), (Starting, 2, &[Start] as Effects));
    assert_eq!(life.failure, Some((crash(), now)));
    let (life, _) = life.step(&RULES, Event::Ready, now);
    assert_eq!((life.state, life.failure), (Running, Some((crash(), now))), "it is kept");
}

#[test]
fn a_crash_loop_is_slowed_down() {
    let (mut life, mut now) = after(Policy::default(), []);
    let mut refused = Vec::new();
    while refused.len() < 3 {
        now = now + Duration::from_millis(10);
        let retry_at = life.retry_at(now);
        life = life.step(&RULES, Event::Wake, now).0;
        assert_eq!(life.state == Starting, retry_at.is_none());
        match retry_at {
            Some(retry_at) => {
                refused.push((life.starts, retry_at.since(now).as_secs_f64().round()));
                now = retry_at;
            }
            None => {
                for event in [Event::Ready, Event::Ended(crash())] {
                    life = life.step(&RULES, event, now).0;
                }
            }
        }
    }
    assert_eq!(refused, [(4, 1.0), (5, 2.0), (6, 4.0)]);
}

#[test]
fn a_lifetime_ends_whatever_happens() {
    let policy = Policy { max_lifetime_ms: Some(60_000), keep_alive: true, ..Policy::default() };
    let end = BORN + Duration::from_secs(60);
    for way in [vec![], vec![Event::Wake, Event::Ready], vec![Event::Wake, Event::Ready, Event::Stop]] {
        let (life, _) = after(policy, way);
        assert_eq!(life.deadlines(&RULES).get(Deadline::Expire), Some(end));
        for event in [Event::Tick, Event::Wake, Event::Unseen] {
            let (life, effects) = life.clone().step(&RULES, event, end);
            assert_eq!((life.state, life.reason, effects), (Destroyed, Some(Reason::Expired), &[End] as Effects));
        }
    }
}

#[test]
fn what_is_stored_is_what_there_was_but_for_what_was_under_way() {
    let (life, _) = after(Policy::default(), [Event::Wake, Event::Ready, Event::Ended(crash()), Event::Wake]);
    let mut used = life.clone();
    used.begin(life.active_at);
    let life = used;
    let stored: Lifecycle = serde_json::from_str(&serde_json::to_string(&life).unwrap()).unwrap();
    let forgotten = Instant(0);
    assert_eq!(stored, Lifecycle { busy: 0, kept_at: forgotten, ended_at: forgotten, ends: 0, unseen_at: forgotten, ..life });
}

#[test]
fn what_the_platform_lacks_is_a_failure_and_no_crash() {
    let (mut life, mut now) = after(Policy::default(), []);
    for reason in [
        Reason::NoCapacity { message: "full".to_owned() },
        Reason::RateLimited { message: "slow down".to_owned() },
        Reason::PlatformUnavailable { message: "again".to_owned() },
    ] {
        for _ in 0..20 {
            now = now + Duration::from_millis(10);
            life = life.step(&RULES, Event::Wake, now).0.step(&RULES, Event::Ended(reason.clone()), now).0;
            assert_eq!((life.state, &life.failure, life.retry_at(now)), (Failed, &Some((reason.clone(), now)), None));
        }
    }
}

#[test]
fn a_container_that_does_not_end_is_ended_again_after_a_pause() {
    let (life, now) = after(Policy::default(), [Event::Wake, Event::Ready, Event::Stop]);
    let due = now + GRACE;
    assert_eq!(life.deadlines(&RULES).get(Deadline::Kill), Some(due));
    let (life, effects) = life.step(&RULES, Event::Tick, due);
    assert_eq!(effects, [End]);
    assert_eq!(life.deadlines(&RULES).get(Deadline::Kill), Some(due + END_AGAIN_AFTER));
    assert_eq!(life.step(&RULES, Event::Tick, due + GRACE).1, [] as [Effect; 0]);
}

#[test]
fn an_agent_that_does_not_answer_puts_the_sleep_off() {
    let policy = Policy { sleep_after_ms: Some(5_000), ..Policy::default() };
    let (life, now) = after(policy, [Event::Wake, Event::Ready]);
    let due = now + Duration::from_secs(5);
    assert_eq!(life.clone().step(&RULES, Event::Tick, due).1, [Ask]);
    let (life, effects) = life.step(&RULES, Event::Unseen, due);
    assert_eq!((life.state, effects), (Running, &[] as Effects));
    assert_eq!(life.deadlines(&RULES).get(Deadline::Sleep), Some(due + ASK_AGAIN_AFTER));
}

/// What a history is made of.
#[derive(Debug, Clone)]
enum Act {
    Event(Event),
    Begin,
    Over,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![1 => Just(Act::Begin), 1 => Just(Act::Over), 8 => event().prop_map(Act::Event)]
}

fn event() -> impl Strategy<Value = Event> {
    let full = || Reason::NoCapacity { message: String::new() };
    let reason = prop::sample::select(vec![crash(), Reason::Evicted, Reason::StartFailed { message: String::new() }, full()]);
    let span = || prop::option::of(prop::sample::select(vec![1_000_u64, 60_000, 3_600_000]));
    let policy =
        (span(), any::<bool>(), prop::option::of(Just(86_400_000))).prop_map(|(sleep_after_ms, keep_alive, max_lifetime_ms)| {
            Event::Configure(Policy { sleep_after_ms, keep_alive, max_lifetime_ms, ..Policy::default() })
        });
    prop_oneof![
        4 => Just(Event::Wake),
        4 => Just(Event::Ready),
        2 => reason.prop_map(Event::Ended),
        2 => Just(Event::Unseen),
        1 => Just(Event::Stop),
        1 => any::<bool>().prop_map(|container| Event::Loaded { container }),
        4 => Just(Event::Tick),
        2 => (any::<bool>(), 0..4_000_000_u64).prop_map(|(busy, at)| Event::Seen { busy, active_at: Instant(BORN.0 + at) }),
        1 => policy,
    ]
}

fn history() -> impl Strategy<Value = Vec<(Act, Duration)>> {
    let pause = prop::sample::select(vec![0, 1, 900, 5_000, 130_000, 700_000]).prop_map(Duration::from_millis);
    prop::collection::vec((act(), pause), 0..60)
}

proptest! {
    #[test]
    fn no_history_leaves_an_impossible_state(history in history(), end in prop::option::of(0..60_usize)) {
        let mut life = Lifecycle::new(Policy::default(), BORN);
        let mut now = BORN;
        let mut busy = 0_u32;
        for (number, (act, pause)) in history.into_iter().enumerate() {
            now = now + pause;
            let event = match act {
                _ if Some(number) == end => Event::Destroy,
                Act::Event(event) => event,
                Act::Begin => {
                    busy += 1;
                    life.begin(now);
                    continue;
                }
                Act::Over => {
                    busy = busy.saturating_sub(1);
                    life.over(now);
                    continue;
                }
            };
            let before = life.clone();
            let lifetime = before.policy.max_lifetime_ms.is_some_and(|lifetime| before.created_at + Duration::from_millis(lifetime) <= now);
            let (next, effects) = before.clone().step(&RULES, event.clone(), now);

            // Destroyed is final, and reached in no other way than by the owner's word or the lifetime's end.
            let destroyed = before.state == Destroyed || event == Event::Destroy || lifetime;
            prop_assert_eq!(next.state == Destroyed, destroyed);
            // A container is started on the way up alone: from nothing, or for one that was found to have ended.
            let fresh = matches!(before.state, Created | Sleeping | Failed) || before.state == Starting;
            prop_assert!(!effects.contains(&Start) || (next.state == Starting && fresh));
            prop_assert!(!effects.contains(&Resume) || next.state == Starting);
            // Whoever starts says so, and counts it.
            prop_assert_eq!(next.starts - before.starts, u64::from(effects.contains(&Start)));
            // What enters starting has somebody who starts it; what leaves it for a state without a container ends it.
            let (entered, left) = (next.state == Starting && before.state != Starting, next.state != Starting);
            prop_assert!(!entered || effects.contains(&Start) || effects.contains(&Resume));
            let down = matches!(next.state, Sleeping | Failed | Destroyed) && left && next.state != before.state;
            prop_assert!(!down || before.state == Stopping || effects.contains(&End) || !matches!(before.state, Starting | Running));
            // Running is reached through a healthy agent alone.
            prop_assert!(next.state != Running || before.state == Running || event == Event::Ready);
            // Nothing runs, sleeps or stops that was never started.
            prop_assert!(next.starts > 0 || matches!(next.state, Created | Destroyed));
            // What is kept alive, or is used, does not fall asleep.
            let slept = next.state == Stopping && next.reason == Some(Reason::Idle) && before.state == Running;
            prop_assert!(!slept || (!before.policy.keep_alive && busy == 0));
            // Storage goes with the sandbox and not before.
            prop_assert!(!effects.contains(&Wipe) || next.state == Destroyed);
            // A crash loop is slowed down: no start while the pause lasts.
            let paused = before.retry_at(now).is_some();
            prop_assert!(!paused || !effects.contains(&Start));
            // A reason stands beside every state but the first.
            prop_assert_eq!(next.reason.is_none(), next.state == Created);
            life = next;
        }
        // Time alone ends whatever is not to last: no deadline stays due after it has come, unless somebody is at work on it.
        if let Some(next) = life.deadlines(&RULES).next() {
            let at = next.max(now);
            let (after, effects) = life.clone().step(&RULES, Event::Tick, at);
            let later = after.deadlines(&RULES).next().is_none_or(|later| later > at);
            prop_assert!(later || effects.contains(&Ask) || effects.contains(&End), "{after:?}");
        }
        // Whatever happened, one more operation and a healthy agent make it run, or it is said why not.
        let retry_at = life.retry_at(now).unwrap_or(now);
        match life.state {
            Destroyed => prop_assert!(life.reason.is_some()),
            Stopping => prop_assert_eq!(life.step(&RULES, Event::Ended(crash()), now).0.state == Sleeping, true),
            _ => {
                let up = life.step(&RULES, Event::Wake, retry_at).0.step(&RULES, Event::Ready, retry_at).0;
                let lived = up.policy.max_lifetime_ms.is_some_and(|lifetime| up.created_at + Duration::from_millis(lifetime) <= retry_at);
                prop_assert!(up.state == Running || lived, "{up:?}");
            }
        }
    }
}
