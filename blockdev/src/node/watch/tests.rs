use super::*;

fn damage(file: &str, offset: u64) -> ScrubDamage {
    ScrubDamage { file: file.into(), offset, what: "a frame", found_ms: 1, touched: None }
}

fn seen(damages: &[ScrubDamage]) -> Seen {
    let damages = damages.iter().map(|damage| (damage.file.clone(), damage.offset)).collect();
    Seen { damages, ..Seen::default() }
}

fn kinds(before: &Seen, now: &Seen, damages: &[ScrubDamage]) -> Vec<&'static str> {
    changes(before, now, damages).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn each_change_is_told_once() {
    let before = seen(&[]);
    assert!(kinds(&before, &before, &[]).is_empty());
    let full = Seen { is_full: true, ..before.clone() };
    assert_eq!(kinds(&before, &full, &[]), [kind::DISK_FULL]);
    assert!(kinds(&full, &full, &[]).is_empty());
    assert_eq!(kinds(&full, &before, &[]), [kind::DISK_HAS_ROOM]);
    let stopped = Seen { stopped: Some("EIO".into()), ..before.clone() };
    assert_eq!(kinds(&before, &stopped, &[]), [kind::STORE_STOPPED]);
    let scrubbed = Seen { scrubbed_ms: 5, ..before.clone() };
    assert_eq!(
        changes(&before, &scrubbed, &[]),
        [(kind::SCRUB_DONE, "a scrub went to its end: there is no damage".into())]
    );
}

#[test]
fn damage_is_told_place_by_place_up_to_a_few() {
    let (one, two) = (damage("segments/1", 4096), damage("segments/1", 8192));
    let known = seen(std::slice::from_ref(&one));
    assert!(kinds(&known, &known, std::slice::from_ref(&one)).is_empty());
    let both = [one.clone(), two];
    assert_eq!(
        changes(&known, &seen(&both), &both),
        [(kind::DAMAGE_FOUND, "damage in segments/1 at 8192: a frame".into())]
    );
    let gone = Seen { damage_gone: 1, ..seen(&[]) };
    assert_eq!(kinds(&known, &gone, &[]), [kind::DAMAGE_GONE]);
    let many: Vec<_> = (0..20).map(|page| damage("runs/7", page * 4096)).collect();
    let told = changes(&known, &seen(&many), &many);
    assert_eq!(told.len(), PLACES_MAX + 1);
    assert!(told[PLACES_MAX].1.contains("12 more places"), "{told:?}");
}

#[test]
fn full_and_not_full_are_some_way_apart() {
    assert!(is_full(false, FULL_BYTES - 1) && !is_full(false, FULL_BYTES));
    assert!(is_full(true, ROOM_BYTES - 1) && !is_full(true, ROOM_BYTES));
}
