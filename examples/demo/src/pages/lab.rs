//! The attack lab's pages.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::Redirect;
use secure_sessions_axum::Session;

use super::{Page, TokenOnly, check_csrf, render};
use crate::app::App;
use crate::error::AppError;
use crate::events::Recorded;
use crate::lab::Attack;
use crate::lab::probe::{CookieChange, Exchange, Side};
use crate::lab::report::{Findings, FlippedPart, Report, Step, StepRole, Verdict};
use crate::lab::searches::StoreFindings;
use crate::shell::Shell;
use crate::when;

/// The number of a cookie's characters that are shown from its start; half as many are shown from its end.
const SHOWN_CHARACTERS: usize = 14;

#[derive(Template)]
#[template(path = "lab.html")]
struct LabPage {
    shell: Shell,
    csrf: String,
    grace: String,
    attacks: Vec<AttackView>,
}

struct AttackView {
    slug: &'static str,
    number: usize,
    title: &'static str,
    given: &'static str,
    plan: &'static str,
    href: String,
    last: Option<LastRun>,
}

struct LastRun {
    ours: Verdict,
    peer: Verdict,
}

/// `GET /lab`.
pub async fn show(State(app): State<App>, session: Session) -> Page {
    let attacks = Attack::ALL.map(|attack| {
        let newest = app.lab.newest(attack);
        AttackView {
            slug: attack.slug(),
            number: attack.number(),
            title: attack.title(),
            given: attack.given(),
            plan: attack.plan(),
            href: match &newest {
                Some((run, _)) => format!("/lab/{}/{run}", attack.slug()),
                None => format!("/lab/{}", attack.slug()),
            },
            last: newest
                .map(|(_, report)| LastRun { ours: report.outcome.ours.verdict, peer: report.outcome.peer.verdict }),
        }
    });
    render(&LabPage {
        shell: Shell::of(&session, "/lab")?,
        csrf: session.csrf_token()?,
        grace: when::span(app.lab.grace()),
        attacks: attacks.into(),
    })
}

/// `POST /lab/{attack}`: runs it, then shows its report.
pub async fn run(
    State(app): State<App>,
    session: Session,
    Path(slug): Path<String>,
    Form(form): Form<TokenOnly>,
) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    let attack = Attack::from_slug(&slug).ok_or(AppError::NotFound)?;
    let run = app.lab.run(attack).await?;
    Ok(Redirect::to(&format!("/lab/{slug}/{run}")))
}

/// `GET /lab/{attack}`: the attack, not run yet.
pub async fn attack(session: Session, Path(slug): Path<String>) -> Page {
    let attack = Attack::from_slug(&slug).ok_or(AppError::NotFound)?;
    page(&session, attack, None)
}

/// `GET /lab/{attack}/{run}`: the report of a run.
pub async fn report(State(app): State<App>, session: Session, Path((slug, run)): Path<(String, String)>) -> Page {
    let attack = Attack::from_slug(&slug).ok_or(AppError::NotFound)?;
    page(&session, attack, app.lab.report(&run).filter(|report| report.attack == attack))
}

#[derive(Template)]
#[template(path = "attack.html")]
struct AttackPage<'a> {
    shell: Shell,
    csrf: String,
    slug: &'static str,
    number: usize,
    title: &'static str,
    given: &'static str,
    plan: &'static str,
    run: Option<RunView<'a>>,
}

struct RunView<'a> {
    when: String,
    took: String,
    sides: [OutcomeView<'a>; 2],
    steps: Vec<StepView<'a>>,
    flips: Option<[FlipsView<'a>; 2]>,
    store: Option<&'a StoreFindings>,
}

struct OutcomeView<'a> {
    id: &'static str,
    name: &'static str,
    verdict: Verdict,
    text: &'a str,
}

struct StepView<'a> {
    title: &'a str,
    decisive: bool,
    sides: [ExchangeView<'a>; 2],
}

struct ExchangeView<'a> {
    name: &'static str,
    status: u16,
    tone: &'static str,
    request: String,
    answer: String,
    has_events: bool,
    events: &'a [Recorded],
}

struct FlipsView<'a> {
    name: &'static str,
    parts: &'a [FlippedPart],
    bytes: usize,
    refused: usize,
}

fn page(session: &Session, attack: Attack, report: Option<Arc<Report>>) -> Page {
    render(&AttackPage {
        shell: Shell::of(session, "/lab")?,
        csrf: session.csrf_token()?,
        slug: attack.slug(),
        number: attack.number(),
        title: attack.title(),
        given: attack.given(),
        plan: attack.plan(),
        run: report.as_deref().map(run_view),
    })
}

const SIDES: [Side; 2] = [Side::Ours, Side::Peer];

fn name(side: Side) -> &'static str {
    match side {
        Side::Ours => "secure-sessions",
        Side::Peer => "Plain sealed cookie",
    }
}

fn id(side: Side) -> &'static str {
    match side {
        Side::Ours => "ours",
        Side::Peer => "peer",
    }
}

fn run_view(report: &Report) -> RunView<'_> {
    let sides = SIDES.map(|side| {
        let outcome = report.outcome.get(side);
        OutcomeView { id: id(side), name: name(side), verdict: outcome.verdict, text: &outcome.text }
    });
    let (mut flips, mut store) = (None, None);
    match &report.findings {
        Findings::None => {}
        Findings::Flips(parts) => {
            flips = Some(SIDES.map(|side| {
                let parts = parts.get(side);
                FlipsView {
                    name: name(side),
                    parts,
                    bytes: parts.iter().map(|part| part.bytes).sum(),
                    refused: parts.iter().map(|part| part.refused).sum(),
                }
            }));
        }
        Findings::Store(findings) => store = Some(findings),
    }
    RunView {
        when: when::relative(when::millis(report.started), when::now()),
        took: when::span(report.took),
        sides,
        steps: report.steps.iter().map(step_view).collect(),
        flips,
        store,
    }
}

fn step_view(step: &Step) -> StepView<'_> {
    let sides = SIDES.map(|side| exchange_view(side, step.exchanges.get(side), step.role));
    StepView { title: &step.title, decisive: step.role != StepRole::Preparation, sides }
}

fn exchange_view(side: Side, exchange: &Exchange, role: StepRole) -> ExchangeView<'_> {
    let mut request = exchange.line.clone();
    if let Some(cookie) = &exchange.cookie {
        request.push_str(&format!("\nCookie: {}={}", exchange.cookie_name, abbreviated(cookie)));
    }
    if let Some(sent) = &exchange.sent {
        request.push_str(&format!("\n\n{sent}"));
    }
    let mut answer = format!("{} {}", exchange.status, exchange.reason);
    match &exchange.cookie_change {
        CookieChange::Kept => {}
        CookieChange::Set(value) => {
            answer.push_str(&format!("\nSet-Cookie: {}={}", exchange.cookie_name, abbreviated(value)));
        }
        CookieChange::Removed => answer.push_str(&format!("\nSet-Cookie: {}=; Max-Age=0", exchange.cookie_name)),
    }
    answer.push_str(&format!("\n\n{}", exchange.answer));
    ExchangeView {
        name: name(side),
        status: exchange.status,
        tone: match (role, exchange.is_served()) {
            (StepRole::Preparation | StepRole::Aftermath, _) => "",
            (StepRole::Attack, false) | (StepRole::Honest, true) => "good",
            (StepRole::Attack, true) | (StepRole::Honest, false) => "bad",
        },
        request,
        answer,
        has_events: side == Side::Ours,
        events: &exchange.events,
    }
}

/// The start and the end of a cookie: an edited one may differ in the middle alone.
fn abbreviated(value: &str) -> String {
    let characters: Vec<char> = value.chars().collect();
    if characters.len() <= 3 * SHOWN_CHARACTERS {
        return value.to_owned();
    }
    let start: String = characters[..SHOWN_CHARACTERS].iter().collect();
    let end: String = characters[characters.len() - SHOWN_CHARACTERS / 2..].iter().collect();
    format!("{start}…{end} ({} characters)", characters.len())
}
