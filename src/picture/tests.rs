use super::{Block, Edge, Frame, Id, Kind, Node, Page, Picture, Section, Way, dot, mermaid, svg};

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
        "flowchart LR\n  subgraph all_from[\"from\"]\n    from_br_2d__2a_[\"br-#42;\"]\n  end\n  subgraph all_service[\"services: this \
         machine and containers\"]\n    service_end[\"#34;#93;#59; end#60;b#62;#92;N#38;lt#59; #35;quot#59; \
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

#[test]
fn no_text_of_others_is_markup_in_a_page() {
    let hostile = "<b onclick=\"x\">'&`a` `\u{202e}";
    let words = || hostile.to_owned();
    let blocks = vec![
        Block::Words(words()),
        Block::Unknown(words()),
        Block::Heading(words()),
        Block::Lines(format!("{hostile}\n{hostile}")),
        Block::Table(vec!["who"], vec![vec![words()]]),
        Block::Finding { severity: "error", id: "x".to_owned(), message: words(), help: words() },
        Block::Map(picture([hostile; 2], hostile)),
    ];
    let html =
        Page { title: words(), about: words(), sections: vec![Section { id: "a", title: "A", blocks }] }.html();
    let escaped = "&lt;b onclick=&quot;x&quot;&gt;&#39;&amp;`a` `\\u{202e}";

    // Twice as a title, then what is said of it; of the blocks, one has two lines and one two texts; in the map the name
    // stands twice, and two lines stand both together and each on its own.
    assert_eq!((html.matches(hostile).count(), html.matches("<b ").count()), (0, 0));
    assert_eq!(html.matches(escaped).count(), 3 + 3 + 2 + 1 + 2 + 2 + 4, "{html}");
}

#[test]
fn what_stands_in_backquotes_is_code_and_a_table_has_its_headings_in_each_cell() {
    let blocks = vec![
        Block::Words("run `a<b` and `c`".to_owned()),
        Block::Table(vec!["port", "who"], vec![vec!["22/tcp".to_owned(), "`any`".to_owned()]]),
    ];
    let html = Page { sections: vec![Section { id: "s", title: "S", blocks }], ..Page::default() }.html();
    let (_, section) = html.split_once("<section").expect("a section");

    assert_eq!(
        section,
        " id=\"s\">\n<h2>S</h2>\n<p>run <code>a&lt;b</code> and <code>c</code></p>\n<table>\n<thead><tr><th>port</th><th>who</th>\
         </tr></thead>\n<tbody>\n<tr><td data-of=\"port\">22/tcp</td><td data-of=\"who\">`any`</td></tr>\n</tbody>\n</table>\n\
         </section>\n</main>\n</body>\n</html>\n"
    );
}

#[test]
fn a_map_draws_the_first_of_very_many_nodes_and_no_edge_of_another() {
    let id = |kind, number: usize| Id { kind, name: number.to_string() };
    let node = |number| Node { id: id(Kind::From, number), lines: vec![format!("node {number}")], denies: false };
    let to = Node { id: id(Kind::Service, 0), lines: vec!["a".repeat(80)], denies: false };
    let edge = |number| Edge { from: id(Kind::From, number), to: to.id.clone(), way: Way::Allowed };
    let frames = vec![
        Frame { kind: Kind::From, nodes: (0..100).map(node).collect() },
        Frame { kind: Kind::Service, nodes: vec![to.clone()] },
    ];
    let drawn = svg(&Picture { frames, edges: (0..100).map(edge).collect() });

    let counts = ["<rect ", "class=\"open\"", ">and 60 more<", &format!(">{}…<", "a".repeat(36))]
        .map(|part| drawn.matches(part).count());
    assert_eq!(counts, [41, 40, 1, 1]);
}
