//! What a decision costs beside a bare axum handler on the same accept loop, with the same bytes
//! in and out: `cargo bench --bench http`; with `-- --openrtb` what a bid costs.
//!
//! Server and floor run as processes of their own, in turns, so that noise hits both alike. CPU is
//! the process's own accounting over a counted run, the steadiest figure on a busy machine.
#![expect(clippy::disallowed_methods, reason = "benches have clocks of their own")]

mod client;
mod floor;
mod world;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use client::{Load, Request};

/// Turns of each side; medians are reported.
const TURNS: usize = 5;
/// Requests of a turn.
const COUNT: usize = 60_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, floor, address, answer, length] = &args[..]
        && floor == "--floor"
    {
        floor::serve(address, PathBuf::from(answer), length.parse().expect("a length"));
        return;
    }
    let open_loop = args.iter().any(|arg| arg == "--open-loop");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(open_loop, args.iter().any(|arg| arg == "--openrtb")));
}

async fn run(open_loop: bool, openrtb: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = world::start(folder.path());
    let requests = if openrtb { world::bids(&server.address) } else { world::requests(&server.address) };
    let sample = client::once(&server.address, &requests[0]).await;
    assert!(sample.status == 200, "{}", String::from_utf8_lossy(&sample.body));
    let text = String::from_utf8_lossy(&sample.body).into_owned();
    assert!(text.contains("\"fallback_level\":\"personalised\""), "{text}");
    println!("request {} bytes, answer {} bytes", requests[0].body.len(), sample.body.len());
    let floor = start_floor(folder.path(), &sample.body, requests[0].body.len());
    let floor_requests: Vec<Request> = requests.iter().map(|request| request.to(&floor.address)).collect();
    for (side, requests) in [(&server, &requests), (&floor, &floor_requests)] {
        client::closed(&side.address, requests, 64, 40_000).await;
    }
    closed_loop(&server, &requests, &floor, &floor_requests).await;
    if openrtb {
        println!("goal for a bid: 2.2 times the CPU of the floor, if possible 1.6");
    }
    if open_loop {
        for rate in [2_000, 10_000] {
            for (name, side, requests) in [("floor", &floor, &floor_requests), ("tessera", &server, &requests)] {
                let load = client::open(&side.address, requests, 64, rate, Duration::from_secs(5), &[]).await;
                println!("open loop {rate}/s {name}: {load}");
            }
        }
    }
}

async fn closed_loop(server: &Side, requests: &[Request], floor: &Side, floor_requests: &[Request]) {
    let (mut cpu, mut throughput, mut absolute) = (Vec::new(), Vec::new(), Vec::new());
    let before = world::steps(&server.address);
    for turn in 0..TURNS {
        let ours = measure(server, requests).await;
        let bare = measure(floor, floor_requests).await;
        println!(
            "turn {turn}: tessera {:.1} us CPU, {:.0}/s ({}); floor {:.1} us CPU, {:.0}/s ({})",
            ours.cpu_us, ours.rate, ours.load, bare.cpu_us, bare.rate, bare.load
        );
        cpu.push(ours.cpu_us / bare.cpu_us);
        throughput.push(ours.rate / bare.rate);
        absolute.push(ours.cpu_us - bare.cpu_us);
    }
    println!("CPU per decision, ratio to the floor: {:.2} (median of {TURNS})", median(&mut cpu));
    println!("throughput at 64 connections, ratio to the floor: {:.2}", median(&mut throughput));
    println!("CPU per decision above the floor: {:.1} us", median(&mut absolute));
    println!("of it, in the steps that the service times (wall time of its own threads):");
    for (step, after) in world::steps(&server.address) {
        let before = before[&step];
        println!("  {step}: {:.2} us", (after - before) as f64 / (1_000 * TURNS * COUNT) as f64);
    }
}

struct Measured {
    cpu_us: f64,
    rate: f64,
    load: Load,
}

async fn measure(side: &Side, requests: &[Request]) -> Measured {
    let (before, start) = (side.cpu(), Instant::now());
    let load = client::closed(&side.address, requests, 64, COUNT).await;
    let (spent, took) = (side.cpu() - before, start.elapsed());
    Measured { cpu_us: spent.as_secs_f64() * 1e6 / COUNT as f64, rate: COUNT as f64 / took.as_secs_f64(), load }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn start_floor(folder: &std::path::Path, answer: &[u8], length: usize) -> Side {
    let file = folder.join("answer.json");
    std::fs::write(&file, answer).expect("the answer");
    let address = world::free_address();
    let exe = std::env::current_exe().expect("this program");
    let child = Command::new(exe)
        .args(["--floor", &address])
        .arg(file)
        .arg(length.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("the floor");
    Side::ready(child, address)
}

/// A server as a process of its own.
pub(crate) struct Side {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Side {
    /// Waits until it listens.
    pub(crate) fn ready(child: Child, address: String) -> Self {
        let until = Instant::now() + Duration::from_secs(120);
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < until, "nobody listens on {address}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, address }
    }

    /// CPU time of all its threads, ended ones included.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ended = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _status = self.child.wait();
    }
}
