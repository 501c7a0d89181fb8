//! The API's `Status` object: how a server says that something went wrong.

use serde_json::{Value, json};

use crate::served::Served;

/// Why a request was refused, as the API's `Status` object says it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// The reason, as in `NotFound`.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// `details` of the `Status` object, or null.
    pub details: Box<Value>,
}

impl Status {
    /// A refusal with no details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Status {
        Status {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: Box::default(),
        }
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        });
        if !self.details.is_null() {
            status["details"] = (*self.details).clone();
        }
        status["code"] = self.code.into();
        status
    }

    pub(crate) fn not_found(served: &Served, name: &str) -> Status {
        Status::about(served, name, 404, "NotFound", "not found")
    }

    pub(crate) fn already_exists(served: &Served, name: &str) -> Status {
        Status::about(served, name, 409, "AlreadyExists", "already exists")
    }

    fn about(served: &Served, name: &str, code: u16, reason: &str, what: &str) -> Status {
        Status {
            code,
            reason: reason.to_owned(),
            message: format!("{} \"{name}\" {what}", served.said()),
            details: served.details(name).into(),
        }
    }

    /// No such address: what a server answers for kinds it does not know.
    pub(crate) fn no_such_page() -> Status {
        Status {
            code: 404,
            reason: "NotFound".to_owned(),
            message: "the server could not find the requested resource".to_owned(),
            details: json!({}).into(),
        }
    }

    /// The object was changed by somebody else in between.
    pub(crate) fn stale(served: &Served, name: &str) -> Status {
        Status {
            code: 409,
            reason: "Conflict".to_owned(),
            message: format!(
                "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply \
                 your changes to the latest version and try again",
                served.said()
            ),
            details: served.details(name).into(),
        }
    }

    pub(crate) fn conflict(served: &Served, name: &str, why: &str) -> Status {
        Status {
            code: 409,
            reason: "Conflict".to_owned(),
            message: format!(
                "Operation cannot be fulfilled on {} \"{name}\": {why}",
                served.said()
            ),
            details: served.details(name).into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    pub(crate) fn gone(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }

    pub(crate) fn not_allowed() -> Status {
        Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// A feature this server does not have, by name.
    pub(crate) fn lacking(feature: &str) -> Status {
        Status::new(
            501,
            "NotImplemented",
            format!("this server does not support {feature}"),
        )
    }

    pub(crate) fn forbidden(served: &Served, name: &str, why: &str) -> Status {
        let subject = if name.is_empty() {
            served.said()
        } else {
            format!("{} \"{name}\"", served.said())
        };
        Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: format!("{subject} is forbidden: {why}"),
            details: served.details(name).into(),
        }
    }

    /// The object is refused for what it says.
    pub(crate) fn invalid(served: &Served, name: &str, causes: &[Cause]) -> Status {
        let said: Vec<String> = causes.iter().map(Cause::said).collect();
        let said = match said.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let kind = if served.group.is_empty() {
            served.kind.clone()
        } else {
            format!("{}.{}", served.kind, served.group)
        };
        let causes: Vec<Value> = causes
            .iter()
            .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }))
            .collect();
        Status {
            code: 422,
            reason: "Invalid".to_owned(),
            message: format!("{kind} \"{name}\" is invalid: {said}"),
            details: json!({ "name": name, "group": served.group, "kind": served.kind, "causes": causes })
                .into(),
        }
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cause {
    /// As in `FieldValueRequired`.
    pub(crate) reason: &'static str,
    /// As in `Required value`.
    pub(crate) message: String,
    /// As in `spec.selector`.
    pub(crate) field: String,
}

impl Cause {
    pub(crate) fn required(field: impl Into<String>) -> Cause {
        Cause {
            reason: "FieldValueRequired",
            message: "Required value".to_owned(),
            field: field.into(),
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Cause {
        Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {why}"),
            field: field.into(),
        }
    }

    pub(crate) fn wrong_type(field: impl Into<String>, got: &Value, want: &str) -> Cause {
        let got_type = type_name(got);
        Cause {
            reason: "FieldValueTypeInvalid",
            message: format!("Invalid value: \"{got_type}\": must be of type {want}: \"{got_type}\""),
            field: field.into(),
        }
    }

    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, allowed: &[Value]) -> Cause {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        Cause {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {value}: supported values: {}",
                allowed.join(", ")
            ),
            field: field.into(),
        }
    }

    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Cause {
        Cause {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
            field: field.into(),
        }
    }

    fn said(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
