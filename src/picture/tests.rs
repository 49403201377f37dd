use super::{Edge, Frame, Id, Kind, Node, Picture, Way, dot, mermaid};

/// A picture with these two lines in a node, and the name in another.
fn picture(lines: [&str; 2], name: &str) -> Picture {
    let id = |kind, name: &str| Id { kind, name: name.to_owned() };
    let (from, to) = (id(Kind::From, name), id(Kind::Service, "end"));
    let node = |id: &Id, lines: &[&str], denies| Node {
        id: id.clone(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        denies,
    };
    let frame = |node: Node| Frame { kind: node.id.kind, nodes: vec![node] };
    Picture {
        frames: vec![frame(node(&from, &[name], false)), frame(node(&to, &lines, true))],
        edges: vec![Edge { from, to, way: Way::Rejected }],
    }
}

#[test]
fn nothing_in_a_text_ends_a_label_or_is_markup_in_it() {
    let hostile = picture(["\"]; end<b>\\N&lt; #quot; `**x**`\u{202e}", "1. a - b"], "br-*");

    assert_eq!(
        mermaid(&hostile),
        "flowchart LR\n  subgraph all_from[\"from\"]\n    from_br_2d__2a_[\"br-#42;\"]\n  end\n  subgraph all_service[\"services of \
         this machine and its containers\"]\n    service_end[\"#34;#93;#59; end#60;b#62;#92;N#38;lt#59; #35;quot#59; \
         #96;#42;#42;x#42;#42;#96;#92;u#123;202e#125;<br/>1#46; a #45; b\"]:::denies\n  end\n  from_br_2d__2a_ --x|reject| \
         service_end\n  classDef denies stroke:#b3261e,stroke-dasharray:5\n"
    );
    assert_eq!(
        dot(&hostile).lines().filter(|line| line.contains("service end")).collect::<Vec<_>>(),
        [
            "    \"service end\" [label=\"\\\"]; end<b>\\\\N&amp;lt; #quot; `**x**`\\\\u{202e}\\n1. a - b\", color=\"#b3261e\"];",
            "  \"from br-*\" -> \"service end\" [label=\"reject\", style=dashed, color=\"#b3261e\", arrowhead=tee];",
        ]
    );
}

#[test]
fn two_names_are_never_one_in_mermaid() {
    let names = ["a-b", "a_b", "a_2d_b", "a.b", "a:b", "a b"];
    let ids = names.map(|name| {
        let text = mermaid(&picture(["", ""], name));
        text.lines()
            .find_map(|line| Some(line.split_once("[\"")?.0.trim().to_owned()).filter(|id| id.starts_with("from_")))
    });
    let ids: std::collections::BTreeSet<_> = ids.into_iter().map(|id| id.expect("it has a node")).collect();

    assert_eq!(ids.len(), names.len());
}
