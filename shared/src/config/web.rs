//! A URI as a lenient reader takes it, by the URL standard of browsers (WHATWG URL, its special
//! schemes): which place it leads to in the end, however it is written. It must not know what any
//! part of it means.

/// The place that a text leads to, written as plainly as a text that begins with `like`: without
/// what readers drop, with the scheme of `like` where both are of the web, and with every step up
/// taken. `None` for a text that leads nowhere.
///
/// # Errors
/// A host that is written so that it cannot be compared.
pub fn resolved(text: &str, like: &str) -> Result<Option<String>, String> {
    let text: String = text
        .trim_matches(|c: char| c <= ' ' || c == '\u{feff}')
        .chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
        .collect();
    let own = scheme_of(like).filter(|scheme| is_special(scheme));
    let scheme = scheme_of(&text).filter(|scheme| is_special(scheme));
    match own.as_deref() {
        None => Ok(Some(of_other(&text))),
        Some("file") => match scheme.as_deref() {
            Some("file") => Ok(text.split_once(':').map(|(_, rest)| of_file(rest))),
            _ => Ok(None),
        },
        Some(own) => match scheme.as_deref() {
            // Addresses of the web are alike, with and without TLS.
            Some("file") => Ok(None),
            Some(_) => match text.split_once(':') {
                Some((_, rest)) => of_host(own, rest),
                None => Ok(None),
            },
            None if text.chars().take(2).filter(|c| is_slash(*c)).count() == 2 => {
                of_host(own, &text)
            }
            None => Ok(None),
        },
    }
}

fn scheme_of(text: &str) -> Option<String> {
    text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase())
}

fn is_special(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp" | "file")
}

fn is_slash(c: char) -> bool {
    matches!(c, '/' | '\\')
}

/// A URI of which a reader knows no more than its form: only steps are taken.
fn of_other(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once(':') else {
        return text.to_owned();
    };
    if let Some(rest) = rest.strip_prefix("//") {
        let (authority, path) =
            rest.split_at_checked(end_of(rest, |c| c == '/')).unwrap_or((rest, ""));
        return format!("{scheme}://{authority}{}", stepped(path));
    }
    match rest.starts_with('/') {
        true => format!("{scheme}:{}", stepped(rest)),
        false => text.to_owned(),
    }
}

/// A file, by what follows `file:`. This machine is nowhere else.
fn of_file(rest: &str) -> String {
    let (path, query) = rest.split_at_checked(end_of(rest, |_| false)).unwrap_or((rest, ""));
    let path = path.replace('\\', "/");
    let (host, path) = match path.strip_prefix("//") {
        Some(rest) => rest.split_at_checked(end_of(rest, |c| c == '/')).unwrap_or((rest, "")),
        None => ("", path.as_str()),
    };
    let host = if host.eq_ignore_ascii_case("localhost") { "" } else { host };
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("file://{host}{}{query}", stepped(&format!("{slash}{path}")))
}

/// An address at a host, by what follows its scheme.
fn of_host(own: &str, rest: &str) -> Result<Option<String>, String> {
    let rest = rest.trim_start_matches(is_slash);
    let (authority, path) = rest.split_at_checked(end_of(rest, is_slash)).unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = match host.rsplit_once(':') {
        Some((host, "" | "21" | "80" | "443")) => host,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.contains(' ') || host.chars().any(is_foreign) {
        return Ok(None);
    }
    if host.contains('%') || !host.is_ascii() {
        return Err("its host must be plain ASCII".to_owned());
    }
    let end = end_of(path, |_| false);
    let (path, query) = path.split_at_checked(end).unwrap_or((path, ""));
    Ok(Some(format!("{own}://{host}{}{query}", stepped(&path.replace('\\', "/")))))
}

/// Whether a letter is no other way to write one of ASCII (Unicode's UTS 46 maps none of these to
/// ASCII), so that a host with it is not one that a template names. It is not all such letters.
fn is_foreign(c: char) -> bool {
    matches!(c,
        'à'..='ö' | 'Ͱ'..='ͳ' | 'Ά' | 'Έ'..='Ͽ' | 'Ѐ'..='ԯ' | 'א'..='ת' | 'ء'..='ي'
        | 'ก'..='ฮ' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿' | '가'..='힣')
}

/// Where a part of a URI ends: at one of these, or where the query or the fragment begins.
fn end_of(text: &str, is_end: impl Fn(char) -> bool) -> usize {
    text.find(|c| matches!(c, '?' | '#') || is_end(c)).unwrap_or(text.len())
}

/// A path and what follows it, with its steps taken.
fn stepped(path: &str) -> String {
    let (path, query) = path.split_at_checked(end_of(path, |_| false)).unwrap_or((path, ""));
    let mut steps: Vec<&str> = Vec::new();
    let mut is_open = false;
    for step in path.split('/').skip(1) {
        let plain = step.to_ascii_lowercase().replace("%2e", ".");
        is_open = matches!(plain.as_str(), "." | "..");
        match plain.as_str() {
            "." => {}
            ".." => {
                steps.pop();
            }
            _ => steps.push(step),
        }
    }
    let mut taken: String = steps.iter().flat_map(|step| ["/", step]).collect();
    if is_open {
        taken.push('/');
    }
    taken + query
}
