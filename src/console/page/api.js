// Requests, and what went wrong with them in words.

/** @param {string} path @param {RequestInit} [options] */
export async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error('the server does not answer');
  }
  if (response.status === 401) location.reload();
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.detail ?? body?.title ?? `the server says ${response.status}`);
  return body;
}

/** Who decides is said with every decision. */
export const who = {
  get name() { return localStorage.getItem('watchtower.who') ?? ''; },
  set name(name) { localStorage.setItem('watchtower.who', name); },
};

/** @param {string} id @param {string} text */
export const annotate = (id, text) => ask(`/api/incidents/${id}/notes`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ by: who.name, text }),
});

/** @param {string} id @param {object} verdict */
export const decide = (id, verdict) => ask(`/api/incidents/${id}/status`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ by: who.name, ...verdict }),
});
