//! The values that the demo keeps in a session: one key per thing, each with its own type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Currency, Product, product};

/// The most bytes of a session cookie, name and value together.
pub const COOKIE_LIMIT: usize = 4000;

/// The session's keys.
pub mod key {
    /// A [`Cart`](super::Cart).
    pub const CART: &str = "cart";
    /// A [`Preferences`](super::Preferences).
    pub const PREFERENCES: &str = "preferences";
    /// A `String`: what is written on the card that comes with the order.
    pub const GIFT_NOTE: &str = "gift_note";
}

/// The most of one product that a cart holds.
pub const MAX_QUANTITY: u32 = 99;
/// The longest name that a visitor is greeted by, in characters.
pub const MAX_NAME: usize = 40;

/// The quantity of each product, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cart(BTreeMap<String, u32>);

/// One line of a cart.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The product.
    pub product: Product,
    /// Its quantity.
    pub quantity: u32,
}

impl Cart {
    /// Adds one.
    pub fn add(&mut self, product: Product) {
        let quantity = self.0.entry(product.id.to_owned()).or_default();
        *quantity = (*quantity + 1).min(MAX_QUANTITY);
    }

    /// Sets how many; zero takes the product out.
    pub fn set(&mut self, product: Product, quantity: u32) {
        if quantity == 0 {
            self.0.remove(product.id);
        } else {
            self.0.insert(product.id.to_owned(), quantity.min(MAX_QUANTITY));
        }
    }

    /// The lines, in the order of the ids. A product that is no longer sold is passed over.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.0.iter().filter_map(|(id, quantity)| Some(Line { product: product(id)?, quantity: *quantity }))
    }

    /// The sum, in euro cents.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.lines().map(|line| line.cents()).sum()
    }

    /// Returns the number of things in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.lines().map(|line| line.quantity).sum()
    }
}

impl Line {
    /// Its price, in euro cents.
    #[must_use]
    pub fn cents(&self) -> u32 {
        self.product.cents * self.quantity
    }
}

/// A visitor's wishes for the site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Light, dark, or as the device is set.
    pub theme: Theme,
    /// The name by which to greet the visitor; empty: the account's name.
    pub name: String,
    /// The currency that prices are shown in.
    pub currency: Currency,
}

/// Light, dark, or as the device is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the device is set.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// Every theme.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// As forms and the page's root element have it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "As my device",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_counts_sums_and_forgets_what_is_not_sold() {
        let (mug, lamp) = (product("mug").expect("sold"), product("lamp").expect("sold"));
        let mut cart = Cart::default();
        cart.add(mug);
        cart.add(mug);
        cart.set(lamp, 1000);
        assert_eq!((cart.count(), cart.total()), (101, 2 * 2100 + 99 * 8900));
        cart.set(lamp, 0);
        cart.0.insert("yacht".to_owned(), 3);
        assert_eq!((cart.count(), cart.lines().count()), (2, 1));
    }
}
