//! Random rules and people, drawn so that edges fall together and rare kinds are not rare.

use super::{
    truth::{Bound, DAY, Entry, HOUR, Measure, Next, Node, Person, RFM_WINDOW, SECOND, Sequence, Which, Window},
    zones::Zone,
};

/// SplitMix64: enough for drawing cases.
pub(super) struct Draw(pub(super) u64);

const SPANS: [i64; 12] = [
    SECOND,
    10 * SECOND,
    60 * SECOND,
    1_800 * SECOND,
    HOUR,
    6 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
];

/// Rules and people; times are before and around `base`.
pub(super) struct World {
    pub(super) base: i64,
    pub(super) rules: Vec<(Node, Zone)>,
    pub(super) people: Vec<Person>,
}

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: i64) -> i64 {
        (self.next() % end.max(1) as u64) as i64
    }

    pub(super) fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as i64) as usize]
    }

    /// A length of time from a millisecond to `longest`, each order of magnitude as likely.
    pub(super) fn logarithmic(&mut self, longest: i64) -> i64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((longest as f64).ln() * share).exp() as i64
    }

    fn span(&mut self) -> i64 {
        self.one(&SPANS)
    }

    fn bound(&mut self, most: i64) -> Bound {
        let n = if self.chance(60) { self.below(4.min(most)) } else { self.below(most) };
        match self.below(10) {
            0..=4 => Bound::Gte(n + 1),
            5 => Bound::Lte(n),
            6 => Bound::Eq(n),
            7 => Bound::Between(n, n + 1 + self.below(4)),
            8 => Bound::Above(n),
            _ => Bound::Below(n + 1),
        }
    }

    fn which(&mut self) -> Which {
        let shops = self.chance(15).then(|| (0..1 + self.below(2)).map(|_| self.below(3) as usize).collect());
        let dearer = self.chance(10).then(|| self.below(20));
        Which { name: (self.below(4) * self.below(4) / 3) as usize, shops, dearer }
    }

    fn window(&mut self, base: i64) -> Window {
        match self.below(20) {
            0..=8 => Window::Last(self.span()),
            9..=11 => {
                let to = self.one(&[0, SECOND, HOUR, DAY, 7 * DAY]);
                Window::Ago(to + self.span().min(300 * DAY), to)
            }
            12 => {
                let since = base - self.logarithmic(60 * DAY);
                let until = self.chance(60).then(|| since + 1 + self.logarithmic(60 * DAY));
                Window::Since(since, until)
            }
            13 => Window::Ever,
            _ => {
                let names =
                    ["today", "yesterday", "this_week", "last_week", "this_month", "last_month", "days", "days"];
                Window::Calendar(self.one(&names), 1 + self.below(9))
            }
        }
    }

    fn age(&mut self) -> (Option<i64>, Option<i64>) {
        let older = self.chance(60).then(|| self.span());
        let within = if older.is_none() || self.chance(60) { Some(older.unwrap_or(0) + self.span()) } else { None };
        (older, within)
    }

    fn event(&mut self, base: i64) -> Node {
        let which = self.which();
        let shop = self.chance(15).then(|| self.below(3) as usize);
        let measure = match self.below(12) {
            0..=3 => {
                let most = if self.chance(15) { 50 } else { 6 };
                Measure::Count(self.bound(most), self.window(base))
            }
            4..=5 => Measure::Sum(self.bound(60), self.window(base)),
            6 => Measure::Avg(self.bound(20), self.window(base)),
            7..=8 => Measure::Distinct(self.bound(6), self.window(base)),
            9..=10 => {
                let (older, within) = self.age();
                Measure::Last(older, within)
            }
            _ => {
                let (older, within) = self.age();
                Measure::First(older, within)
            }
        };
        Node::Event(which, shop, measure)
    }

    fn sequence(&mut self) -> Node {
        let single = self.chance(60);
        let steps = if single { 1 } else { 1 + self.below(4) };
        let then = (0..steps).map(|_| Next {
            which: self.which(),
            happens: self.chance(if single { 25 } else { 60 }),
            within: self.one(&[0, SECOND, 10 * SECOND, 60 * SECOND, 1_800 * SECOND, HOUR, DAY, 7 * DAY]),
        });
        Node::Sequence(Sequence {
            then: then.collect(),
            start: Which { shops: None, dearer: None, ..self.which() },
            same: self.chance(35),
            any: self.chance(40),
            lookback: self.one(&[60 * SECOND, HOUR, DAY, 7 * DAY, 30 * DAY]),
            late_clears: self.chance(50),
        })
    }

    fn fifths(&mut self) -> Vec<i64> {
        if self.chance(40) { Vec::new() } else { (1..=5).filter(|_| self.chance(40)).collect() }
    }

    fn leaf(&mut self, base: i64, segments: usize) -> Node {
        match self.below(40) {
            0..=19 => self.event(base),
            20..=30 => self.sequence(),
            31..=32 => {
                let (mut recency, frequency, money) = (self.fifths(), self.fifths(), self.fifths());
                if recency.is_empty() && frequency.is_empty() && money.is_empty() {
                    recency = vec![5];
                }
                Node::Rfm(recency, frequency, money)
            }
            33 => Node::Cluster(vec![self.below(3) as usize], self.chance(30).then_some(1.7)),
            34..=35 => Node::List(self.below(3) as usize),
            36..=37 if segments > 0 => Node::Segment(self.below(segments as i64) as usize),
            38 => Node::Trait(self.one(&["t", "u"]), None),
            _ => Node::Trait(self.one(&["t", "u"]), Some(self.span())),
        }
    }

    fn node(&mut self, base: i64, segments: usize, depth: u32) -> Node {
        let group = |draw: &mut Self| -> Vec<Node> {
            (0..2 + draw.below(2)).map(|_| draw.node(base, segments, depth + 1)).collect()
        };
        match self.below(10) {
            0..=2 if depth < 3 => Node::All(group(self)),
            3..=4 if depth < 3 => Node::Any(group(self)),
            5 if depth < 3 => Node::Not(self.node(base, segments, depth + 1).into()),
            _ => self.leaf(base, segments),
        }
    }

    fn person(&mut self, base: i64) -> Person {
        let most = self.one(&[3, 8, 20, 60, 150]);
        let mut log: Vec<Entry> = Vec::new();
        for _ in 0..self.below(most) {
            let longest = self.one(&[HOUR, 3 * DAY, 40 * DAY, 370 * DAY]);
            let at = match log.last() {
                // Together with another, a span after it, or on a round instant.
                Some(last) if self.chance(25) => last.at + self.one(&[0, 0, 1, SECOND, 1_800 * SECOND, DAY]),
                _ if self.chance(20) => (base - self.logarithmic(longest)) / HOUR * HOUR,
                _ => base - self.logarithmic(longest),
            };
            let cents = if self.chance(10) {
                None
            } else if self.chance(10) {
                Some(-self.below(900))
            } else {
                Some(self.below(3_000))
            };
            log.push(Entry {
                at,
                name: (self.below(4) * self.below(4) / 3) as usize,
                cents: cents.map(|cents| if self.chance(40) { cents / 100 * 100 } else { cents }),
                item: self.chance(90).then(|| self.below(6) as usize),
                shop: self.chance(80).then(|| self.below(3) as usize),
            });
        }
        let traits = ["t", "u"].into_iter().filter(|_| self.chance(70));
        let traits: Vec<_> = traits.collect();
        let traits =
            traits.into_iter().map(|name| (name, (base - self.logarithmic(RFM_WINDOW)) / SECOND * SECOND)).collect();
        let lists = (0..3).map(|_| self.chance(60).then(|| base + self.logarithmic(DAY) - HOUR)).collect();
        Person { log, traits, lists }
    }

    pub(super) fn world(&mut self, rules: usize, people: usize) -> World {
        let zones = [Zone::Utc, Zone::London, Zone::London, Zone::NewYork, Zone::LordHowe, Zone::Kolkata];
        // Around a change of clocks, mostly.
        let year = 2026 + self.below(2);
        let changes = self.one(&[Zone::London, Zone::NewYork, Zone::LordHowe]).changes(year).expect("summer time");
        let change = if self.chance(50) { changes.0 } else { changes.1 };
        let base = change + self.below(9 * DAY) - 2 * DAY;
        let rules =
            (0..rules).map(|at| (self.node(base, at, if at % 3 == 0 { 3 } else { 0 }), self.one(&zones))).collect();
        let people = (0..people).map(|_| self.person(base)).collect();
        World { base, rules, people }
    }

    /// An instant to look at: near what happened or a span after it, or anywhere near the base.
    pub(super) fn now(&mut self, world: &World, person: &Person) -> i64 {
        let entry = if person.log.is_empty() { None } else { Some(self.below(person.log.len() as i64) as usize) };
        match entry {
            Some(entry) if self.chance(55) => person.log[entry].at + self.span() + self.one(&[-1, 0, 0, 1]),
            Some(entry) if self.chance(25) => person.log[entry].at + self.logarithmic(40 * DAY),
            _ if self.chance(30) => (world.base + self.below(10 * DAY)) / HOUR * HOUR + self.one(&[-1, 0]),
            _ => world.base + self.logarithmic(60 * DAY),
        }
    }
}
