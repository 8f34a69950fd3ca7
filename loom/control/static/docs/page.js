// Shows the API's description, and lets people try it with their own token or session.
"use strict";

const csrf = document.querySelector('meta[name="csrf-token"]')?.content;

SwaggerUIBundle({
  url: "v1/openapi.json",
  domNode: document.getElementById("api"),
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // Its choice of a server has no name of its own.
  onComplete: () => document.getElementById("servers")?.setAttribute("aria-label", "Server"),
  validatorUrl: null, // the description goes nowhere else
  persistAuthorization: false,
  requestInterceptor: (request) => {
    if (csrf && !["GET", "HEAD"].includes(request.method ?? "GET")) {
      request.headers["X-CSRF-Token"] = csrf;
    }
    return request;
  },
});
