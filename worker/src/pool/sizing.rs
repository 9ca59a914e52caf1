//! How many containers to start or give up, from counts alone.

/// The containers of one spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// How many should wait.
    pub target: u32,
    /// How many wait.
    pub ready: u32,
    /// How many are starting.
    pub warming: u32,
    /// How many tasks wait for one.
    pub waiting: u32,
    /// Whether one was taken so recently that making another would slow down its task.
    pub is_stirred: bool,
    /// Whether containers wait here only as long as tasks ask for them.
    pub is_passing: bool,
    /// Whether the last start failed so recently that another must not be tried yet.
    pub paused: bool,
}

/// What all specs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct House {
    /// Containers of any kind that exist or are being made or removed.
    pub containers: u32,
    /// The most there may be.
    pub containers_max: u32,
    /// The most that may be starting at once.
    pub warming_max: u32,
    /// The most that may wait on all passing shelves together: what one tenant asks for must not
    /// take the room of the others.
    pub passing_max: u32,
}

/// What to do for one shelf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Containers to start.
    pub start: u32,
    /// Waiting containers to give up, so that another shelf's task gets room.
    pub evict: u32,
}

/// One decision per shelf, in the order of `shelves`. Tasks that wait come before targets, targets
/// that always hold before passing ones, and within each, shelves take turns.
#[must_use]
pub fn plan(shelves: &[Shelf], house: House) -> Vec<Decision> {
    let mut decisions = vec![Decision::default(); shelves.len()];
    let warming: u32 = shelves.iter().map(|shelf| shelf.warming).sum();
    let mut starts_left = house.warming_max.saturating_sub(warming);
    let mut room = house.containers_max.saturating_sub(house.containers);
    let passing_left = house.passing_max.saturating_sub(shelves.iter().map(surplus).sum());
    let kept = |shelf: &Shelf| if shelf.is_passing { 0 } else { shortage(shelf) };
    let passing = |shelf: &Shelf| if shelf.is_passing { shortage(shelf) } else { 0 };
    let passes: [(Want, u32); 3] = [(demand, u32::MAX), (kept, u32::MAX), (passing, passing_left)];
    for (want, mut left) in passes {
        let mut progress = true;
        while progress && starts_left > 0 && room > 0 {
            progress = false;
            for (shelf, decision) in shelves.iter().zip(decisions.iter_mut()) {
                if starts_left == 0 || room == 0 || left == 0 {
                    break;
                }
                if !shelf.paused && want(shelf) > decision.start {
                    left -= 1;
                    decision.start += 1;
                    starts_left -= 1;
                    room -= 1;
                    progress = true;
                }
            }
        }
    }
    if room == 0 {
        evict(shelves, &mut decisions, starts_left);
    }
    decisions
}

/// How many starts a shelf could do with.
type Want = fn(&Shelf) -> u32;

/// Starts that tasks wait for.
fn demand(shelf: &Shelf) -> u32 {
    shelf.waiting.saturating_sub(shelf.warming)
}

/// What a passing shelf has beyond what tasks wait for.
fn surplus(shelf: &Shelf) -> u32 {
    let spare = (shelf.ready + shelf.warming).saturating_sub(shelf.waiting);
    if shelf.is_passing { spare } else { 0 }
}

/// Starts that the target misses, on top of what tasks wait for.
fn shortage(shelf: &Shelf) -> u32 {
    if shelf.is_patient() {
        return 0;
    }
    (shelf.target + shelf.waiting).saturating_sub(shelf.ready + shelf.warming)
}

impl Shelf {
    /// Whether what is missing can wait until the task that took the last one has had the
    /// processors for a moment: half of what should wait is still there.
    #[must_use]
    pub fn is_patient(&self) -> bool {
        let is_short = self.ready + self.warming < self.target;
        self.is_stirred && is_short && self.ready * 2 >= self.target
    }
}

/// The house is full: idle containers of one shelf make room for the tasks of another, those of
/// passing shelves first.
fn evict(shelves: &[Shelf], decisions: &mut [Decision], starts_left: u32) {
    let unmet = shelves
        .iter()
        .zip(decisions.iter())
        .filter(|(shelf, _)| !shelf.paused)
        .map(|(shelf, decision)| demand(shelf).saturating_sub(decision.start))
        .sum::<u32>();
    let mut needed = unmet.min(starts_left);
    for of in [true, false] {
        for (shelf, decision) in shelves.iter().zip(decisions.iter_mut()) {
            if shelf.waiting == 0 && shelf.is_passing == of {
                decision.evict = shelf.ready.min(needed);
                needed -= decision.evict;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: House =
        House { containers: 0, containers_max: 100, warming_max: 3, passing_max: 2 };

    fn starts(shelves: &[Shelf], house: House) -> Vec<u32> {
        plan(shelves, house).iter().map(|decision| decision.start).collect()
    }

    #[test]
    fn an_empty_pool_fills_as_fast_as_it_may() {
        let shelf = Shelf { target: 5, ..Shelf::default() };
        assert_eq!(starts(&[shelf], HOUSE), [3]);
        assert_eq!(starts(&[Shelf { warming: 2, ..shelf }], HOUSE), [1]);
        assert_eq!(starts(&[Shelf { ready: 4, warming: 1, ..shelf }], HOUSE), [0]);
        assert_eq!(starts(&[Shelf { ready: 9, ..shelf }], HOUSE), [0]);
    }

    #[test]
    fn tasks_that_wait_come_first_and_shelves_take_turns() {
        let idle = Shelf { target: 5, ..Shelf::default() };
        let asked = Shelf { waiting: 2, ..Shelf::default() };
        assert_eq!(starts(&[idle, asked], HOUSE), [1, 2]);
        assert_eq!(starts(&[idle, idle], HOUSE), [2, 1]);
        assert_eq!(starts(&[Shelf { warming: 2, ..asked }], HOUSE), [0]);
    }

    #[test]
    fn a_failing_image_does_not_stop_another() {
        let failing = Shelf { target: 5, waiting: 3, paused: true, ..Shelf::default() };
        let fine = Shelf { target: 1, ..Shelf::default() };
        assert_eq!(starts(&[failing, fine], HOUSE), [0, 1]);
    }

    #[test]
    fn a_task_that_has_just_begun_is_not_slowed_down_while_enough_wait() {
        let taken = Shelf { target: 4, ready: 3, is_stirred: true, ..Shelf::default() };
        assert_eq!(starts(&[taken], HOUSE), [0]);
        assert_eq!(starts(&[Shelf { is_stirred: false, ..taken }], HOUSE), [1]);
        assert_eq!(starts(&[Shelf { ready: 1, ..taken }], HOUSE), [3]);
        assert_eq!(starts(&[Shelf { waiting: 2, ready: 0, ..taken }], HOUSE), [3]);
    }

    #[test]
    fn what_is_asked_for_in_passing_has_its_own_bound() {
        let passing = Shelf { target: 4, is_passing: true, ..Shelf::default() };
        let house = House { warming_max: 9, ..HOUSE };
        assert_eq!(starts(&[passing, passing], house), [1, 1]);
        assert_eq!(starts(&[Shelf { ready: 1, ..passing }, passing], house), [1, 0]);
        assert_eq!(starts(&[Shelf { ready: 2, ..passing }, passing], house), [0, 0]);
        // Tasks that wait have no such bound, and the kept ones are as they were.
        let asked = Shelf { waiting: 5, ..passing };
        let kept = Shelf { target: 2, ..Shelf::default() };
        assert_eq!(starts(&[asked, kept], house), [7, 2]);
        // Where there is little room, it is the others'.
        let tight = House { containers_max: 2, ..house };
        assert_eq!(starts(&[passing, kept], tight), [0, 2]);
        let idle = [
            Shelf { ready: 2, ..kept },
            Shelf { ready: 1, ..passing },
            Shelf { waiting: 1, ..kept },
        ];
        let full = House { containers: 3, containers_max: 3, ..house };
        assert_eq!(plan(&idle, full).iter().map(|d| d.evict).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn a_full_house_trades_idle_containers_for_waiting_tasks() {
        let idle = Shelf { target: 2, ready: 2, ..Shelf::default() };
        let asked = Shelf { waiting: 1, ..Shelf::default() };
        let full = House { containers: 4, containers_max: 4, ..HOUSE };
        let decisions = plan(&[idle, asked], full);
        assert_eq!(decisions[0], Decision { start: 0, evict: 1 });
        assert_eq!(decisions[1], Decision::default());
        assert_eq!(plan(&[idle, Shelf::default()], full)[0].evict, 0);
        let over = House { containers: 9, ..full };
        assert_eq!(starts(&[Shelf { target: 5, ..Shelf::default() }], over), [0]);
    }
}
