//! Runs one attack step by step on both targets, and keeps what was seen.

use std::time::Duration;

use reqwest::Method;

use super::LabError;
use super::probe::{Exchange, Pair, Probe, Request, Side};
use super::report::{Step, StepRole};
use crate::users::ACCOUNTS;

/// The steps of a run, while it lasts.
pub struct Script<'a> {
    probe: &'a Probe,
    steps: Vec<Step>,
}

impl<'a> Script<'a> {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(probe: &'a Probe) -> Self {
        Self { probe, steps: Vec::new() }
    }

    /// Returns the requests that were sent, and their answers.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// For requests that are too many to be shown.
    #[must_use]
    pub fn probe(&self) -> &'a Probe {
        self.probe
    }

    /// A request that prepares the attack.
    ///
    /// # Errors
    ///
    /// [`LabError::Http`] if there is no answer.
    pub async fn prepare(
        &mut self,
        title: &str,
        request: impl Fn(Side) -> Request,
    ) -> Result<Pair<Exchange>, LabError> {
        self.step(title, StepRole::Preparation, request).await
    }

    /// A request that a good server refuses.
    ///
    /// # Errors
    ///
    /// [`LabError::Http`] if there is no answer.
    pub async fn attack(&mut self, title: &str, request: impl Fn(Side) -> Request) -> Result<Pair<Exchange>, LabError> {
        self.step(title, StepRole::Attack, request).await
    }

    /// A request that a good server serves although it is under attack.
    ///
    /// # Errors
    ///
    /// [`LabError::Http`] if there is no answer.
    pub async fn honest(&mut self, title: &str, request: impl Fn(Side) -> Request) -> Result<Pair<Exchange>, LabError> {
        self.step(title, StepRole::Honest, request).await
    }

    /// A request that shows what became of the session.
    ///
    /// # Errors
    ///
    /// [`LabError::Http`] if there is no answer.
    pub async fn aftermath(
        &mut self,
        title: &str,
        request: impl Fn(Side) -> Request,
    ) -> Result<Pair<Exchange>, LabError> {
        self.step(title, StepRole::Aftermath, request).await
    }

    /// Logs an account in on both targets; gives the cookies.
    ///
    /// # Errors
    ///
    /// [`LabError::Unexpected`] if one of them does not let it in.
    pub async fn log_in(&mut self, user: &'static str) -> Result<Pair<String>, LabError> {
        let password = ACCOUNTS.iter().find(|account| account.name == user).map(|account| account.password);
        let body = serde_json::json!({ "user": user, "password": password });
        let request = |_| Request { method: Method::POST, path: "/login", cookie: None, body: Some(body.clone()) };
        let answers = self.prepare(&format!("{} logs in", capitalised(user)), request).await?;
        newest(&answers)
    }

    /// Lets time pass.
    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn step(
        &mut self,
        title: &str,
        role: StepRole,
        request: impl Fn(Side) -> Request,
    ) -> Result<Pair<Exchange>, LabError> {
        let ours = self.probe.send(Side::Ours, request(Side::Ours)).await?;
        let peer = self.probe.send(Side::Peer, request(Side::Peer)).await?;
        self.steps.push(Step {
            title: title.to_owned(),
            role,
            exchanges: Pair { ours: ours.clone(), peer: peer.clone() },
        });
        Ok(Pair { ours, peer })
    }
}

/// The cookies that browsers have after these answers, which must have been good.
///
/// # Errors
///
/// [`LabError::Unexpected`] if one was not.
pub fn newest(answers: &Pair<Exchange>) -> Result<Pair<String>, LabError> {
    let cookie = |exchange: &Exchange| {
        let cookie = exchange.cookie_afterwards().filter(|_| exchange.is_served()).map(str::to_owned);
        cookie.ok_or_else(|| LabError::Unexpected { line: exchange.line.clone(), status: exchange.status })
    };
    Ok(Pair { ours: cookie(&answers.ours)?, peer: cookie(&answers.peer)? })
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}
