//! k-means: seeding after Arthur and Vassilvitskii (2007), Lloyd's iteration, and the silhouette.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Points of equal width, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    pub(super) values: Vec<f64>,
    pub(super) width: usize,
}

pub(super) type Centroids = Vec<Vec<f64>>;

/// Rounds of Lloyd's iteration at most; the last ones move hardly anybody.
const ROUNDS: usize = 30;
/// Seedings tried, of which the one with the least inertia is kept.
const SEEDINGS: u64 = 4;

impl Points {
    pub(super) fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width.max(1))
    }

    pub(super) fn row(&self, at: usize) -> &[f64] {
        &self.values[at * self.width..][..self.width]
    }

    /// The first points: people come in the order of hashes, so that these are an even sample.
    pub(super) fn first(&self, count: usize) -> Self {
        Self { values: self.values[..self.len().min(count) * self.width].to_vec(), width: self.width }
    }

    pub(super) fn labels(&self, centroids: &[Vec<f64>]) -> Vec<usize> {
        self.rows().map(|row| nearest(row, centroids).0).collect()
    }
}

/// The nearest centroid, of equally near ones the first, and the square of its distance. Nobody is
/// near an empty one.
pub(super) fn nearest(row: &[f64], centroids: &[Vec<f64>]) -> (usize, f64) {
    let there = centroids.iter().enumerate().filter(|(_, centroid)| !centroid.is_empty());
    let distances = there.map(|(at, centroid)| (at, squared(row, centroid)));
    distances.fold((0, f64::INFINITY), |best, next| if next.1 < best.1 { next } else { best })
}

pub(super) fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// How many points each centroid has.
pub(super) fn sizes(labels: &[usize], clusters: usize) -> Vec<usize> {
    let mut sizes = vec![0; clusters];
    labels.iter().for_each(|&label| sizes[label] += 1);
    sizes
}

/// At most `clusters` centroids, each with at least `least` points.
pub(super) fn fit(points: &Points, clusters: usize, least: usize, seed: u32) -> Centroids {
    let tries = (0..SEEDINGS).map(|round| lloyd(points, seeding(points, clusters, u64::from(seed) << 8 | round)));
    let (centroids, _) = tries.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
    merge_small(points, centroids, least)
}

/// Takes out the smallest centroid, whose points then join the nearest, until none is too small.
pub(super) fn merge_small(points: &Points, mut centroids: Centroids, least: usize) -> Centroids {
    loop {
        let sizes = sizes(&points.labels(&centroids), centroids.len());
        match sizes.iter().enumerate().min_by_key(|(_, size)| **size) {
            Some((at, &size)) if size < least.max(1) && centroids.len() > 1 => drop(centroids.remove(at)),
            _ => return centroids,
        }
        centroids = lloyd(points, centroids).0;
    }
}

/// Far apart points: each is drawn in proportion to the square of its distance from those before.
fn seeding(points: &Points, clusters: usize, seed: u64) -> Centroids {
    let mut whole = *b"tessera-training----------------";
    whole[16..24].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(whole);
    let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    if points.len() == 0 {
        return Vec::new();
    }
    let mut centroids = vec![points.row((unit() * points.len() as f64) as usize).to_vec()];
    let mut weights = vec![f64::INFINITY; points.len()];
    while centroids.len() < clusters {
        let newest = &centroids[centroids.len() - 1];
        for (weight, row) in weights.iter_mut().zip(points.rows()) {
            *weight = weight.min(squared(row, newest));
        }
        let mut left = unit() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // None: every point is a centroid already.
        match drawn {
            Some(at) => centroids.push(points.row(at).to_vec()),
            None => break,
        }
    }
    centroids
}

/// Moves centroids to the middle of their points until nobody changes sides; and the inertia.
pub(super) fn lloyd(points: &Points, mut centroids: Centroids) -> (Centroids, f64) {
    let mut labels = vec![usize::MAX; points.len()];
    let mut inertia = 0.0;
    for _ in 0..ROUNDS {
        inertia = 0.0;
        let mut moved = false;
        let mut sums = vec![vec![0.0; points.width]; centroids.len()];
        let mut counts = vec![0_usize; centroids.len()];
        for (row, label) in points.rows().zip(&mut labels) {
            let (at, distance) = nearest(row, &centroids);
            moved |= *label != at;
            (*label, inertia) = (at, inertia + distance);
            counts[at] += 1;
            sums[at].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        if !moved {
            break;
        }
        for ((centroid, sum), count) in centroids.iter_mut().zip(sums).zip(counts).filter(|(_, count)| *count > 0) {
            *centroid = sum.into_iter().map(|sum| sum / count as f64).collect();
        }
    }
    (centroids, inertia)
}

/// How well points are apart, -1 to 1: for each, how much nearer its own cluster is than the next
/// one. 0 for a single cluster. Takes time with the square of the number of points.
pub(super) fn silhouette(points: &Points, centroids: &[Vec<f64>]) -> f64 {
    let labels = points.labels(centroids);
    let sizes = sizes(&labels, centroids.len());
    let mut total = 0.0;
    for (row, &own) in points.rows().zip(&labels).filter(|(_, own)| sizes[**own] > 1) {
        let mut sums = vec![0.0; centroids.len()];
        for (other, &label) in points.rows().zip(&labels) {
            sums[label] += squared(row, other).sqrt();
        }
        let within = sums[own] / (sizes[own] - 1) as f64;
        let others = (0..centroids.len()).filter(|&at| at != own && sizes[at] > 0);
        let next = others.map(|at| sums[at] / sizes[at] as f64).fold(f64::INFINITY, f64::min);
        let largest = within.max(next);
        if next.is_finite() && largest > 0.0 {
            total += (next - within) / largest;
        }
    }
    total / points.len().max(1) as f64
}
