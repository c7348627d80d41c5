//! The line that tells an editor a file's schema: it is there, and the schema too.

use std::path::Path;
use std::sync::Arc;

use super::problem::{Place, Position, Problem, quoted};

/// Checks a file's modeline; `schema` is the name of the schema's file.
pub(super) fn check(
    file: &Arc<str>,
    text: &str,
    schema: &str,
    is_file: &dyn Fn(&Path) -> bool,
) -> Option<Problem> {
    let allowed = format!("# yaml-language-server: $schema=PATH, where PATH leads from the file to {schema}");
    let at = |line: usize, column: usize| Place::at(file, Position { line, column });
    let problem = |place, found: String| Some(Problem::new(place, "", found, allowed.clone()));
    // Editors look for it in the comments at the top.
    let text = text.trim_start_matches('\u{feff}');
    let mut comments =
        (1..).zip(text.lines()).take_while(|(_, line)| line.starts_with('#') || line.is_empty());
    let named = comments.find_map(|(line, comment)| {
        let (_, told) = comment.split_once("yaml-language-server:")?;
        Some((line, comment, told.trim().strip_prefix("$schema=")?.trim()))
    });
    let Some((line, comment, path)) = named else {
        return problem(at(1, 1), "no line that names the schema".into());
    };
    let place = at(line, comment.find('=').map_or(1, |before| before + 2));
    let leads_to = Path::new(&**file).parent().unwrap_or(Path::new("")).join(path);
    if Path::new(path).is_absolute() || Path::new(path).file_name().is_none_or(|name| name != schema) {
        return problem(place, format!("the schema {}", quoted(path)));
    }
    if !is_file(&leads_to) {
        return problem(place, format!("the schema {}, where there is no file", quoted(path)));
    }
    None
}
