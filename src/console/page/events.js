// Event stream of the server (server-sent events).
//
// A browser reconnects by itself after a broken connection, but gives up when
// the server responds with an error; then this reads the reason and retries.

/** @import {Agent, Change, Finding, Stream} from './types' */

/** A browser has six connections per server, shared by its tabs. */
const HIDDEN_FOR = 30_000;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/**
 * @typedef {object} EventHandlers
 * @property {(finding: Finding) => void} finding
 * @property {(change: Change) => void} incident
 * @property {(agents: Agent[]) => void} agents
 * @property {(streams: Stream[]) => void} streams
 * @property {(error: string) => void} link Error of the connection; empty when there is none.
 */

export class Events {
  #handlers;
  /** @type {EventSource | null} */ #source = null;
  #last = '';
  #pause = FIRST_PAUSE;
  #hidden = 0;

  /** @param {EventHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    // A page in the back/forward cache would keep its connection, and a few of
    // them would use up all.
    addEventListener('pagehide', () => this.#source?.close());
    addEventListener('pageshow', ({ persisted }) => persisted && this.#connect());
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#hidden);
      if (document.hidden) this.#hidden = window.setTimeout(() => this.#source?.close(), HIDDEN_FOR);
      else if (this.#source?.readyState === EventSource.CLOSED) this.#connect();
    });
    this.#connect();
  }

  #connect() {
    this.#source?.close();
    const from = this.#last ? `?last_event_id=${encodeURIComponent(this.#last)}` : '';
    const source = new EventSource(`/api/events${from}`);
    this.#source = source;
    source.addEventListener('open', () => {
      this.#pause = FIRST_PAUSE;
      this.#handlers.link('');
    });
    source.addEventListener('error', () => {
      if (source !== this.#source) return;
      this.#handlers.link('Reconnecting…');
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
    for (const name of /** @type {const} */ (['finding', 'incident', 'agents', 'streams'])) {
      source.addEventListener(name, ({ data, lastEventId }) => {
        if (lastEventId) this.#last = lastEventId;
        this.#handlers[name](JSON.parse(data));
      });
    }
  }

  async #again() {
    const response = await fetch('/api/agents').catch(() => null);
    // The session has ended: reloading the page shows the login form.
    if (response?.status === 401) return location.reload();
    setTimeout(() => document.hidden || this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }
}
