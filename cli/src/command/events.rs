//! `silt events`

use siltstone::control::{EventDescription, Request, Response};
use siltstone::span::Span;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, table};

/// Show what happened: nodes, volumes, damage, scrubs, full disks, certificates; from the oldest.
///
/// In a cluster it is what happened at all nodes that are reached; what concerns the whole cluster is noted by the node that leads it.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Only what happened in the last such time, for example 2h or 7d.
    #[arg(long, value_parser = crate::command::span, value_name = "TIME")]
    since: Option<Span>,
}

impl Events {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = Request::Events { since_s: self.since.as_ref().map(|span| span.seconds()) };
        match backend::ask(global, Access::Read, &request)? {
            Response::Events { events, silent } => {
                let output = Output::new(global);
                output.answer(&serde_json::json!({ "events": events, "silent": silent }), || text(&events))?;
                if !silent.is_empty() {
                    output.note(&format!("not asked, since they are not reached: {}", silent.join(", ")));
                }
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(events: &[EventDescription]) -> String {
    if events.is_empty() {
        return String::new();
    }
    let has_nodes = events.iter().any(|event| event.node.is_some());
    let row = |event: &EventDescription| {
        let node = has_nodes.then(|| event.node.clone().unwrap_or_default());
        [Some(event.at.clone()), node, Some(event.kind.clone()), Some(event.text.clone())]
            .into_iter()
            .flatten()
            .collect()
    };
    let columns: &[&str] = if has_nodes { &["TIME", "NODE", "KIND", "EVENT"] } else { &["TIME", "KIND", "EVENT"] };
    table(columns, &[], events.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_with_the_node_if_there_are_several() {
        let event = EventDescription {
            at: "2026-11-26T07:00:00Z".into(),
            node: Some("n1".into()),
            kind: "node_joined".into(),
            subject: "n2".into(),
            text: "node n2 joined".into(),
        };
        assert_eq!(
            text(std::slice::from_ref(&event)),
            "TIME                  NODE  KIND         EVENT\n2026-11-26T07:00:00Z  n1    node_joined  node n2 joined\n"
        );
        let alone = EventDescription { node: None, ..event };
        assert_eq!(text(&[alone]).lines().next(), Some("TIME                  KIND         EVENT"));
        assert_eq!(text(&[]), "");
    }
}
