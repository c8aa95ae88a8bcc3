//! The cart.

use askama::Template;
use axum::Form;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use secure_sessions_axum::{Session, SessionError, secure_sessions};
use serde::Deserialize;

use super::{Page, check_csrf, render};
use crate::catalogue::{PRODUCTS, product};
use crate::error::AppError;
use crate::shell::{KeySizes, Shell};
use crate::visitor::{Cart, Preferences, key};

const OVERFULL: usize = 5000;

#[derive(Template)]
#[template(path = "cart.html")]
struct CartPage {
    shell: Shell,
    csrf: String,
    alert: Option<String>,
    lines: Vec<LineView>,
    total: String,
    gift_note: String,
    products: Vec<ProductView>,
    sizes: KeySizes,
}

struct LineView {
    id: &'static str,
    name: &'static str,
    quantity: u32,
    price: String,
}

struct ProductView {
    id: &'static str,
    name: &'static str,
    about: &'static str,
    price: String,
}

/// `GET /cart`.
pub async fn show(session: Session) -> Page {
    page(&session, None)
}

fn page(session: &Session, alert: Option<String>) -> Page {
    let cart: Cart = session.get(key::CART)?.unwrap_or_default();
    let Preferences { currency, .. } = session.get(key::PREFERENCES)?.unwrap_or_default();
    let lines = cart.lines().map(|line| LineView {
        id: line.product.id,
        name: line.product.name,
        quantity: line.quantity,
        price: currency.format(line.cents()),
    });
    let products = PRODUCTS.iter().map(|product| ProductView {
        id: product.id,
        name: product.name,
        about: product.about,
        price: currency.format(product.cents),
    });
    render(&CartPage {
        shell: Shell::of(session, "/cart")?,
        csrf: session.csrf_token()?,
        alert,
        lines: lines.collect(),
        total: currency.format(cart.total()),
        gift_note: session.get(key::GIFT_NOTE)?.unwrap_or_default(),
        products: products.collect(),
        sizes: KeySizes::of(session),
    })
}

/// A form about one product.
#[derive(Debug, Deserialize)]
pub struct Add {
    csrf: String,
    id: String,
}

/// `POST /cart/add`.
pub async fn add(session: Session, Form(form): Form<Add>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    let product = product(&form.id).ok_or(AppError::NotFound)?;
    // Two tabs at once: the closure runs again on what the other one left.
    session.update(key::CART, move |cart: &mut Cart| cart.add(product))?;
    Ok(Redirect::to("/cart"))
}

/// A form that sets how many of a product.
#[derive(Debug, Deserialize)]
pub struct Quantity {
    csrf: String,
    id: String,
    quantity: u32,
}

/// `POST /cart/set`.
pub async fn set(session: Session, Form(form): Form<Quantity>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    let product = product(&form.id).ok_or(AppError::NotFound)?;
    session.update(key::CART, move |cart: &mut Cart| cart.set(product, form.quantity))?;
    Ok(Redirect::to("/cart"))
}

/// The form with the gift note.
#[derive(Debug, Deserialize)]
pub struct GiftNote {
    csrf: String,
    note: String,
}

/// `POST /cart/note`.
pub async fn note(session: Session, Form(form): Form<GiftNote>) -> Result<Response, AppError> {
    check_csrf(&session, &form.csrf)?;
    keep_note(&session, form.note.trim())
}

/// `POST /cart/overfill`: what happens when a session would outgrow its cookie.
pub async fn overfill(session: Session, Form(form): Form<GiftNote>) -> Result<Response, AppError> {
    check_csrf(&session, &form.csrf)?;
    keep_note(&session, &"x".repeat(OVERFULL))
}

fn keep_note(session: &Session, note: &str) -> Result<Response, AppError> {
    let kept =
        if note.is_empty() { session.remove(key::GIFT_NOTE).map(|_| ()) } else { session.insert(key::GIFT_NOTE, note) };
    match kept {
        Ok(()) => Ok(Redirect::to("/cart").into_response()),
        Err(error) => too_large(session, error),
    }
}

/// The one error that a visitor can do something about: nothing was changed, and the page says so.
fn too_large(session: &Session, error: SessionError) -> Result<Response, AppError> {
    let secure_sessions::SessionError::TooLarge { size, limit, .. } = error.kind() else { return Err(error.into()) };
    let alert = format!(
        "Too much for a cookie: it would have {size} bytes, and the limit is {limit}. The engine refused the change with \
         a typed error, and everything is as it was."
    );
    Ok((StatusCode::PAYLOAD_TOO_LARGE, page(session, Some(alert))?).into_response())
}
