//! OpenAPI 3.1 description of the API, generated from the served routes.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi as _, ToSchema as _};

use watchtower_domain::finding::Category;

use super::problem::Problem;
use crate::AppState;
use crate::api::agent_settings::EditProblem;

/// Outside the guard, with responses of their own.
const FREE: [&str; 10] = [
    "/healthz",
    "/login",
    "/logout",
    "/api/inbound",
    "/api/share/{stream}",
    "/api/share/{stream}/session",
    "/api/share/{stream}/latest.jpg",
    "/api/share/{stream}/paused",
    "/whip/{stream}",
    "/whip/{stream}/{session}",
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Watchtower",
        description = "AI analysts for a live screen share: RTMP in, WebRTC out, findings with evidence. Lists are newest first and answer a cursor (`next`); errors are application/problem+json (RFC 9457); times are RFC 3339, UTC. Without WATCHTOWER_CONSOLE_TOKEN only local connections are accepted.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Problem, EditProblem)),
    // Local clients need none while no token is configured.
    security((), ("token" = []), ("session" = [])),
    tags(
        (name = "live", description = "Current state"),
        (name = "analysts", description = "Settings and precision of the analysts"),
        (name = "findings", description = "Findings of the analysts"),
        (name = "incidents", description = "Incidents and their triage"),
        (name = "history", description = "Screen history, search and shift reports"),
        (name = "series", description = "Numbers of the screens over time"),
        (name = "sinks", description = "Sinks and dead letters"),
        (name = "sharing", description = "Share links, and what their holders see"),
        (name = "media", description = "Watching by WHEP (draft-ietf-wish-whep), publishing by WHIP (RFC 9725)"),
        (name = "service", description = "Health, readiness and metrics"),
    ),
    modifiers(&SecurityAddon)
)]
pub(crate) struct Description;

/// Security schemes, and the responses without credentials.
struct SecurityAddon;

impl Modify for SecurityAddon {
    fn modify(&self, api: &mut OpenApi) {
        let components = api.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", bearer);
        let share = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("share", share);
        let publisher = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("publisher", publisher);
        let cookie = ApiKey::Cookie(ApiKeyValue::new("watchtower"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// Adds the guard's responses to every route.
pub(crate) fn finished(mut api: OpenApi) -> Bytes {
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .build();
    let refused = |why: &str| {
        let response = ResponseBuilder::new().description(why);
        RefOr::T(
            response
                .content("application/problem+json", problem.clone())
                .build(),
        )
    };
    for (path, item) in &mut api.paths.paths {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for (status, response) in responses.iter_mut() {
                let RefOr::T(response) = response else {
                    continue;
                };
                // OpenAPI requires a description, and most status codes are
                // self-explanatory.
                if response.description.is_empty() {
                    let status = status.parse::<StatusCode>().ok();
                    let reason = status.and_then(|status| status.canonical_reason());
                    response.description = reason.unwrap_or("Answered").to_owned();
                }
            }
            let answers: &[_] = if !FREE.contains(&path.as_str()) {
                &[
                    ("401", "Missing or invalid token"),
                    ("403", "Not a local connection, or a cross-site request"),
                    ("429", "Too many invalid tokens from this address"),
                ]
            } else if operation.request_body.is_some() {
                &[
                    ("408", "The body took too long"),
                    ("413", "The body is too large"),
                ]
            } else {
                &[]
            };
            for (status, why) in answers {
                responses
                    .entry((*status).to_owned())
                    .or_insert_with(|| refused(why));
            }
        }
    }
    categories(&mut api);
    serde_json::to_vec(&api).map_or_else(|_| Bytes::new(), Bytes::from)
}

/// Parameter of categories that a list is filtered by; too many to write them
/// twice.
fn categories(api: &mut OpenApi) {
    let incidents = api.paths.paths.get_mut("/api/incidents");
    let operation = incidents.and_then(|item| item.get.as_mut());
    let parameters = operation.and_then(|operation| operation.parameters.as_mut());
    let category = parameters.into_iter().flatten().find_map(|parameter| {
        let RefOr::T(parameter) = parameter else {
            return None;
        };
        (parameter.name == "category").then_some(parameter)
    });
    let schema = category.and_then(|parameter| parameter.schema.as_mut());
    if let Some(RefOr::T(Schema::Object(object))) = schema {
        let known = Category::ALL.map(Category::as_str).join("|");
        object.pattern = Some(format!("^({known})?(,({known})?)*$"));
    }
}

pub(crate) fn described() -> OpenApi {
    Description::openapi()
}

/// This description
#[utoipa::path(get, path = "/api/openapi.json", tag = "service", responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi(State(state): State<AppState>) -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, state.description.get().cloned().unwrap_or_default())
}
