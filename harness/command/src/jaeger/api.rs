//! What the page asks, answered in Jaeger's words (`/api` of its query service, version 1), and the
//! page itself.

use super::otlp;
use super::search::Query;
use super::store::{Span, Store, Tag, Trace};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Shared = Arc<Mutex<Store>>;

/// Everything that is served.
pub(super) fn router(store: Shared) -> Router {
    // Its own store stays empty: what it would answer from it is answered before it is asked.
    let unused = otlp_embedded::Config { max_length: 1, max_memory_usage: 1 };
    let page = otlp_embedded::ui_app(otlp_embedded::State::new(unused), "/");
    let page = page.layer(middleware::map_response(at_once));
    let api = Router::new()
        .route("/services", get(services))
        .route("/services/{service}/operations", get(operations))
        .route("/operations", get(operations_with_kind))
        .route("/traces", get(traces))
        .route("/traces/{id}", get(trace))
        .route("/dependencies", get(dependencies))
        .fallback(unknown);
    Router::new()
        .nest("/api", api)
        .route("/v1/traces", post(take))
        .layer(DefaultBodyLimit::max(MESSAGE_MAX))
        .with_state(store)
        .fallback_service(page)
}

/// The page's own routes (`/trace/…`) are the page, not a redirection without an address.
async fn at_once(mut response: Response) -> Response {
    if response.status() == StatusCode::TEMPORARY_REDIRECT {
        *response.status_mut() = StatusCode::OK;
    }
    response
}

/// A handler that panics spoils no other's answer: spans are added one by one.
fn locked(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(store): State<Shared>, headers: header::HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        let hint = "only OTLP's JSON is read here (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, hint).into_response();
    }
    match otlp::read(&body) {
        Ok(spans) => {
            let mut store = locked(&store);
            spans.into_iter().for_each(|span| store.add(span));
            Json(json!({"partialSuccess": {}})).into_response()
        }
        Err(wrong) => (StatusCode::BAD_REQUEST, Json(json!({"message": wrong}))).into_response(),
    }
}

async fn services(State(store): State<Shared>) -> Json<Value> {
    listed(&locked(&store).services().into_iter().map(Value::from).collect::<Vec<_>>())
}

async fn operations(State(store): State<Shared>, Path(service): Path<String>) -> Json<Value> {
    listed(&locked(&store).operations(&service).into_iter().map(Value::from).collect::<Vec<_>>())
}

async fn operations_with_kind(State(store): State<Shared>, query: RawQuery) -> Json<Value> {
    let service = parameters(query).into_iter().find(|(key, _)| key == "service");
    let store = locked(&store);
    let names = service.map(|(_, service)| store.operations(&service)).unwrap_or_default();
    let named = names.into_iter().map(|name| json!({"name": name, "spanKind": ""}));
    listed(&named.collect::<Vec<_>>())
}

async fn trace(State(store): State<Shared>, Path(id): Path<String>) -> Response {
    match locked(&store).trace(&id) {
        Some(trace) => listed(&[written(trace)]).into_response(),
        None => failed(StatusCode::NOT_FOUND, "trace not found"),
    }
}

async fn traces(State(store): State<Shared>, query: RawQuery) -> Response {
    let parameters = parameters(query);
    let store = locked(&store);
    // The page asks so for traces by their ids.
    let ids: Vec<_> = parameters.iter().filter(|(key, _)| key == "traceID").collect();
    if !ids.is_empty() {
        let found = ids.iter().filter_map(|(_, id)| store.trace(id));
        return listed(&found.map(written).collect::<Vec<_>>()).into_response();
    }
    let search = match asked(parameters).and_then(|query| Ok((query.limit, query.read()?))) {
        Ok(search) => search,
        Err(wrong) => return failed(StatusCode::BAD_REQUEST, &wrong),
    };
    let (limit, search) = search;
    let mut found: Vec<_> = store.traces().filter(|trace| search.finds(trace)).collect();
    let began = |trace: &&Trace| trace.spans.iter().map(|span| span.start_us).min();
    found.sort_by_key(|trace| std::cmp::Reverse(began(trace)));
    found.truncate(limit.unwrap_or(LIMIT));
    listed(&found.into_iter().map(written).collect::<Vec<_>>()).into_response()
}

/// Who calls whom: services whose spans are children of another's.
async fn dependencies(State(store): State<Shared>) -> Json<Value> {
    let mut calls = std::collections::BTreeMap::<(String, String), u64>::new();
    for trace in locked(&store).traces() {
        for child in &trace.spans {
            let parent = trace.spans.iter().find(|span| Some(&span.id) == child.parent.as_ref());
            if let Some(parent) = parent.filter(|parent| parent.service != child.service) {
                *calls.entry((parent.service.clone(), child.service.clone())).or_default() += 1;
            }
        }
    }
    let call =
        |((parent, child), count)| json!({"parent": parent, "child": child, "callCount": count});
    listed(&calls.into_iter().map(call).collect::<Vec<_>>())
}

async fn unknown() -> Response {
    failed(StatusCode::NOT_FOUND, "this is not answered here")
}

fn listed(data: &[Value]) -> Json<Value> {
    let total = data.len();
    Json(json!({"data": data, "total": total, "limit": 0, "offset": 0, "errors": null}))
}

fn failed(status: StatusCode, message: &str) -> Response {
    let error = json!({"code": status.as_u16(), "msg": message});
    (status, Json(json!({"data": null, "errors": [error]}))).into_response()
}

/// The query string's parameters, of which some may be there several times.
fn parameters(RawQuery(query): RawQuery) -> Vec<(String, String)> {
    let uri = format!("/?{}", query.unwrap_or_default()).parse::<axum::http::Uri>();
    let read = uri.ok().and_then(|uri| axum::extract::Query::try_from_uri(&uri).ok());
    read.map(|axum::extract::Query(pairs)| pairs).unwrap_or_default()
}

fn asked(parameters: Vec<(String, String)>) -> Result<Query, String> {
    let number = |key: &str, text: &str| {
        text.parse::<u64>().map(Value::from).map_err(|_| format!("{key}: {text:?} is no number"))
    };
    let mut fields = serde_json::Map::new();
    for (key, text) in parameters {
        let value = match key.as_str() {
            "start" | "end" | "limit" => number(&key, &text)?,
            _ => text.into(),
        };
        fields.insert(key, value);
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

/// A trace as Jaeger writes it.
fn written(trace: &Trace) -> Value {
    let services: BTreeSet<&str> = trace.spans.iter().map(|span| span.service.as_str()).collect();
    let process = |service: &str| (service.to_owned(), json!({"serviceName": service, "tags": []}));
    let processes: serde_json::Map<_, _> = services.into_iter().map(process).collect();
    let ids: BTreeSet<&str> = trace.spans.iter().map(|span| span.id.as_str()).collect();
    let spans: Vec<_> = trace.spans.iter().map(|span| span_written(span, &ids)).collect();
    let id = trace.spans.first().map_or("", |span| span.trace.as_str());
    json!({"traceID": id, "spans": spans, "processes": processes, "warnings": null})
}

fn span_written(span: &Span, ids: &BTreeSet<&str>) -> Value {
    // A parent that is somewhere else would hide the span.
    let parent = span.parent.as_ref().filter(|id| ids.contains(id.as_str()));
    let parent = parent.map(|id| reference("CHILD_OF", &span.trace, id));
    let mut references: Vec<_> = parent.into_iter().collect();
    references.extend(span.links.iter().map(|(trace, id)| reference("FOLLOWS_FROM", trace, id)));
    let logs = span.logs.iter();
    let logs = logs.map(|(at, fields)| json!({"timestamp": at, "fields": tags_written(fields)}));
    json!({
        "traceID": span.trace,
        "spanID": span.id,
        "operationName": span.name,
        "references": references,
        "startTime": span.start_us,
        "duration": span.duration_us,
        "tags": tags_written(&span.tags),
        "logs": logs.collect::<Vec<_>>(),
        "processID": span.service,
        "warnings": null,
    })
}

fn reference(kind: &str, trace: &str, span: &str) -> Value {
    json!({"refType": kind, "traceID": trace, "spanID": span})
}

fn tags_written(tags: &[Tag]) -> Value {
    let kind = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        _ => "string",
    };
    let written = |tag: &Tag| json!({"key": tag.key, "type": kind(&tag.value), "value": tag.value});
    tags.iter().map(written).collect()
}

/// Traces in one answer where the page names no number.
const LIMIT: usize = 20;
/// Bytes of one message: some ten thousand spans.
const MESSAGE_MAX: usize = 16 << 20;
