// Events of the server, as they happen (server-sent events).
//
// A browser comes back by itself after a broken connection, but gives up when
// the server answers with an error; then this asks why and tries again.

/** @import {Agent, Change, Finding, Stream} from './types' */

/** A browser has six connections for one server, and its tabs share them. */
const HIDDEN_FOR = 30_000;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/**
 * @typedef {object} Heard
 * @property {(finding: Finding) => void} finding
 * @property {(change: Change) => void} incident
 * @property {(agents: Agent[]) => void} agents
 * @property {(streams: Stream[]) => void} streams
 * @property {(trouble: string) => void} link Empty when all is well.
 */

export class Events {
  #heard;
  /** @type {EventSource | null} */ #source = null;
  #last = '';
  #pause = FIRST_PAUSE;
  #hidden = 0;

  /** @param {Heard} heard */
  constructor(heard) {
    this.#heard = heard;
    // A page that was left may be kept to go back to, and would keep its
    // connection: a few of them, and none is left for the next.
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
      this.#heard.link('');
    });
    source.addEventListener('error', () => {
      if (source !== this.#source) return;
      this.#heard.link('Reconnecting…');
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
    for (const name of /** @type {const} */ (['finding', 'incident', 'agents', 'streams'])) {
      source.addEventListener(name, ({ data, lastEventId }) => {
        if (lastEventId) this.#last = lastEventId;
        this.#heard[name](JSON.parse(data));
      });
    }
  }

  async #again() {
    const response = await fetch('/api/agents').catch(() => null);
    // The session has ended: the page itself is the way to sign in again.
    if (response?.status === 401) return location.reload();
    setTimeout(() => document.hidden || this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }
}
