//! x
fn main() {
    let args: Vec<u64> = std::env::args()
        .skip(1)
        .map(|a| a.parse().unwrap())
        .collect();
    let t = std::time::Instant::now();
    let n = args[1] - args[0];
    let mut ev = 0;
    for seed in args[0]..args[1] {
        let plan = dotmsg_core::sim::Plan::draw(seed, dotmsg_core::sim::Size::default());
        let (history, violations) = dotmsg_core::sim::run_scripted(plan.clone(), None);
        ev += history.events.len();
        if n == 1 {
            println!("{plan}{}", history.text(None));
        }
        for v in violations.iter().take(3) {
            println!("seed {seed}: {v}");
        }
        if args.len() > 2 && !violations.is_empty() {
            break;
        }
    }
    println!(
        "{} seeds/s, {} events/seed",
        n as f64 / t.elapsed().as_secs_f64(),
        ev as u64 / n
    );
}
