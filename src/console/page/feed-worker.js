// Shared worker: one connection to the event stream for all tabs, which stays
// open while they are in the background.

import { earlier, Feed, isAfter } from './feed.js';

/** @typedef {{kind: import('./feed.js').Kind, data: string, id: string} | {link: string} | {ended: true}} FromWorker */
/** @typedef {{from: string} | {leave: true}} ToWorker */

const scope = /** @type {{onconnect: ((event: MessageEvent) => void) | null}} */ (/** @type {unknown} */ (self));

/** @type {Set<MessagePort>} */
const tabs = new Set();
/** What the server sends at the start of a connection, as it is now. @type {Map<string, FromWorker>} */
const states = new Map();

/** Tabs that asked for earlier events, and the position up to which the others have them. */
const replay = { until: '', to: new Set() };

/** @param {FromWorker} message @param {Set<MessagePort>} [to] */
const tell = (message, to = tabs) => to.forEach((tab) => tab.postMessage(message));

const feed = new Feed({
  event(kind, data, id) {
    const message = { kind, data, id };
    if (kind === 'agents' || kind === 'streams') {
      states.set(kind, message);
      return tell(message);
    }
    if (replay.until && !isAfter(id, replay.until)) return tell(message, replay.to);
    replay.until = '';
    replay.to.clear();
    tell(message);
  },
  link(link) {
    states.set('link', { link });
    tell({ link });
  },
  ended: () => tell({ ended: true }),
});

/** @param {MessagePort} tab @param {string} from Id of the last event it knows; empty for those from now on. */
function join(tab, from) {
  tabs.add(tab);
  if (feed.isClosed) {
    states.clear();
    feed.open(from);
  } else if (from && feed.last && isAfter(feed.last, from)) {
    replay.until ||= feed.last;
    replay.to.add(tab);
    feed.open(earlier(feed.last, from));
  } else for (const state of states.values()) tab.postMessage(state);
}

scope.onconnect = (/** @type {MessageEvent} */ event) => {
  const tab = event.ports[0];
  tab.onmessage = (/** @type {MessageEvent<ToWorker>} */ { data }) => {
    if ('from' in data) return join(tab, data.from);
    tabs.delete(tab);
    replay.to.delete(tab);
    if (tabs.size === 0) feed.close();
  };
};
