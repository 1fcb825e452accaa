use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn no_more_threads_work_than_may_and_the_rest_has_its_turn() {
    let workers = Arc::new(Workers::with_threads(2));
    let (said, heard) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    for number in 0..5 {
        let (said, released) = (said.clone(), Arc::clone(&released));
        workers.run(move || {
            said.send(number).unwrap();
            released.lock().recv().unwrap();
        });
    }
    let mut begun: Vec<i32> = (0..2).map(|_| heard.recv_timeout(LONG).unwrap()).collect();
    let waiting = workers.state.lock().work.len();
    assert_eq!((workers.state.lock().threads, waiting), (2, 3));
    (0..5).for_each(|_| release.send(()).unwrap());
    begun.extend((0..3).map(|_| heard.recv_timeout(LONG).unwrap()));
    begun.sort_unstable();
    assert_eq!(begun, [0, 1, 2, 3, 4]);
    workers.stop();
}
