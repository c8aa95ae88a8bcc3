//! Writes, each of which compares and writes in one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::errors::{failed, is_conflict};
use super::items::{self, Condition, Place};
use super::{DynamoDb, Version};
use crate::StoreError;
use crate::key_value::{Change, Expected, NewValue};

/// The result of a write.
pub(super) enum Written {
    /// All of its changes.
    All,
    /// Nothing: an expectation does not hold.
    Nothing,
    /// Nothing: another transaction is under way, or the table has too much to do. It can be tried again.
    NothingYet,
}

impl DynamoDb {
    /// Writes one item. The attempts are those of all calls for one write.
    pub(super) async fn put(
        &self,
        key: &str,
        expected: &Expected<Version>,
        new: &NewValue,
        attempts: &mut Attempts,
    ) -> Result<Written, StoreError> {
        let Condition { expression, values } = Condition::of(expected);
        let is_conditional = expression.is_some();
        let call = self.client.put_item().table_name(&self.table);
        let call = call.set_item(Some(items::item(&Place::of(key), new, attempts.mark.clone())?));
        let call = call.set_condition_expression(expression).set_expression_attribute_values(values);
        // The item that is there then tells if an earlier attempt has written it.
        let there = is_conditional.then_some(ReturnValuesOnConditionCheckFailure::AllOld);
        let call = call.set_return_values_on_condition_check_failure(there);
        let attempted = Attempted::default();
        let error = match call.customize().interceptor(attempted.clone()).send().await {
            Ok(_) => return Ok(Written::All),
            Err(error) => error,
        };
        attempts.may_have_written |= attempted.may_have_written();
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                if refused.item.as_ref().is_some_and(|item| items::has_mark(item, &attempts.mark)) {
                    return Ok(Written::All);
                }
                if attempts.may_have_written {
                    let text = "DynamoDB: the answer to a write was lost, and its item has changed";
                    return Err(StoreError::unavailable(text));
                }
                Ok(Written::Nothing)
            }
            _ if is_conflict(&error) => Ok(Written::NothingYet),
            _ => Err(failed(error)),
        }
    }

    /// Removes an item, if it is there.
    pub(super) async fn delete(&self, key: &str) -> Result<Written, StoreError> {
        let call = self.client.delete_item().table_name(&self.table).set_key(Some(Place::of(key).to_item()));
        match call.send().await {
            Ok(_) => Ok(Written::All),
            Err(error) if is_conflict(&error) => Ok(Written::NothingYet),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes all changes or none. The SDK gives them a token, by which DynamoDB knows a repeated attempt.
    pub(super) async fn transact(&self, changes: &[Change<Version>]) -> Result<Written, StoreError> {
        let items: Result<Vec<_>, _> = changes.iter().map(|change| self.transact_item(change)).collect();
        let call = self.client.transact_write_items().set_transact_items(Some(items?));
        match call.send().await {
            Ok(_) => Ok(Written::All),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => match reason(canceled) {
                    Some(written) => Ok(written),
                    None => Err(failed(error)),
                },
                _ => Err(failed(error)),
            },
        }
    }

    fn transact_item(&self, change: &Change<Version>) -> Result<TransactWriteItem, StoreError> {
        let place = Place::of(&change.key);
        let Condition { expression, values } = Condition::of(&change.expected);
        let item = TransactWriteItem::builder();
        Ok(match &change.new {
            Some(new) => {
                let put =
                    Put::builder().table_name(&self.table).set_item(Some(items::item(&place, new, items::mark())?));
                let put = put.set_condition_expression(expression).set_expression_attribute_values(values);
                item.put(put.build().map_err(StoreError::rejected)?)
            }
            None => {
                let delete = Delete::builder().table_name(&self.table).set_key(Some(place.to_item()));
                let delete = delete.set_condition_expression(expression).set_expression_attribute_values(values);
                item.delete(delete.build().map_err(StoreError::rejected)?)
            }
        }
        .build())
    }
}

/// Returns why nothing was written, if it is no error. Each change has a reason; that of one which could be made is `None`.
fn reason(canceled: &TransactionCanceledException) -> Option<Written> {
    let codes =
        || canceled.cancellation_reasons().iter().filter_map(|reason| reason.code()).filter(|code| *code != "None");
    let is_put_off = |code| matches!(code, "TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError");
    if codes().any(|code| code == "ConditionalCheckFailed") {
        return Some(Written::Nothing);
    }
    (codes().next().is_some() && codes().all(is_put_off)).then_some(Written::NothingYet)
}

/// The attempts at one write of an item.
pub(super) struct Attempts {
    /// The mark that all of them write.
    mark: AttributeValue,
    /// If `true`, the answer to one may have been lost.
    may_have_written: bool,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { mark: items::mark(), may_have_written: false }
    }
}

/// Notes if one of the attempts that the SDK makes at a call may have written, although it has failed.
#[derive(Debug, Clone, Default)]
struct Attempted(Arc<AtomicBool>);

impl Attempted {
    fn may_have_written(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Attempted {
    fn name(&self) -> &'static str {
        "attempted"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // DynamoDB has not written a change that it refused with a status of 400 to 499.
        let is_refused = context.response().is_some_and(|response| response.status().is_client_error());
        self.0.fetch_or(!is_refused, Ordering::Relaxed);
        Ok(())
    }
}
