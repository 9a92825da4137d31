// The page of who shares a screen (/share/STREAM): choose, share, pause, stop.

import { UNREACHABLE } from './api.js';
import { at, words } from './dom.js';
import { Publisher } from './publisher.js';
import { Card, chosen, obstacle } from './share-capture.js';
import { bar, closeFront, pauseButton, stopButton } from './share-front.js';
import { ShareRefused, begin, held, mayMake, session, setPaused, stream, takeToken } from './share-token.js';
import { cover, show, showQuality, showState } from './share-view.js';

/** Interval in ms of what is shown: a secret is warned of within seconds. */
const LOOK = 1000;
/** Time in ms after which a connected page whose stream is not live connects again. */
const PATIENCE = 4000;

const video = /** @type {HTMLVideoElement} */ (at('own'));

/** What is shared now. @type {{media: MediaStream, publisher: Publisher, card: Card | null, paused: boolean, known: boolean | null, missing: number} | null} */
let shared = null;

/** Says why there is nothing to share, or why it ended. @param {string} text @param {boolean} [again] */
function explain(text, again = false) {
  at('why').hidden = !text;
  at('why').textContent = text;
  at('choose').hidden = !again;
  at('intro').hidden = false;
  at('sharing').hidden = true;
  bar.hidden = true;
}

async function prepare() {
  const isNew = takeToken();
  at('stream').textContent = stream;
  const why = obstacle();
  if (why) {
    showState('', 'not possible here');
    return explain(why);
  }
  try {
    if (held.token) await session().catch(async (error) => {
      // An operator's own session of before is over: another link is made.
      if (isNew || !(error instanceof ShareRefused && error.isFinal && await mayMake())) throw error;
      held.token = '';
    });
    else if (!await mayMake()) throw new ShareRefused(401, 'This address has no valid share link. Ask the operator for one, or sign in to the console first.');
    showState('', 'ready');
    explain('', true);
  } catch (error) {
    // The server may be away for a moment.
    if (!(error instanceof ShareRefused)) {
      showState('lost', words(error));
      window.setTimeout(prepare, LOOK);
      return;
    }
    showState('', 'link not valid');
    explain(refusal(error));
  }
}

/** @param {ShareRefused} error */
function refusal(error) {
  const said = `${error.message[0].toUpperCase()}${error.message.slice(1)}`;
  return error.status === 410 ? `${said}. Ask the operator for a new one.` : said;
}

/** @param {string} id */
const isChecked = (id) => /** @type {HTMLInputElement} */ (at(id)).checked;

at('choose').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = /** @type {HTMLButtonElement} */ (at('begin'));
  button.disabled = true;
  try {
    const media = await chosen({ sound: isChecked('with-sound'), microphone: isChecked('with-microphone') });
    try {
      await begin();
      publish(media);
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      throw error;
    }
  } catch (error) {
    const cancelled = error instanceof DOMException && error.name === 'NotAllowedError';
    const final = error instanceof ShareRefused && error.isFinal;
    explain(cancelled ? 'Nothing was chosen.' : error instanceof ShareRefused ? refusal(error) : words(error), !final);
  } finally {
    button.disabled = false;
  }
});

/** @param {MediaStream} media */
function publish(media) {
  const codec = new URLSearchParams(location.search).get('codec');
  const isLive = () => session().then(({ state }) => state === 'live' || state === 'paused', () => false);
  const publisher = new Publisher(stream, () => held.token, media, codec, isLive);
  shared = { media, publisher, card: null, paused: false, known: false, missing: 0 };
  publisher.addEventListener('state', (event) => changed(publisher, /** @type {CustomEvent} */ (event).detail));
  const [picture] = media.getVideoTracks();
  // The browser's own button ends it too.
  picture.addEventListener('ended', () => end('Sharing has ended.'));
  video.srcObject = new MediaStream([picture]);
  at('intro').hidden = true;
  at('sharing').hidden = false;
  bar.hidden = false;
  cover(false);
  showState('', 'connecting…');
  look();
}

/** @param {Publisher} publisher @param {{state: string, why: string}} detail */
function changed(publisher, { state, why }) {
  if (!shared || shared.publisher !== publisher) return;
  if (state === 'refused') return end(why);
  if (state === 'waiting') showState('lost', `${why}; reconnecting…`);
  if (state !== 'live') return;
  shared.missing = 0;
  showNow();
  // A new session of the server is not paused.
  shared.known = false;
  tell();
}

function showNow() {
  if (shared?.publisher.isConnected) showState(shared.paused ? 'paused' : 'live', shared.paused ? 'paused' : 'sharing');
}

/** Ends sharing. @param {string} why */
function end(why) {
  if (!shared) return;
  const { media, publisher, card } = shared;
  shared = null;
  publisher.stop();
  closeFront();
  card?.stop();
  media.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  showState('', 'not sharing');
  cover(false);
  explain(why, true);
}

/** Tells the server whether it is paused, until it knows. */
async function tell() {
  const now = shared;
  if (!now || !now.publisher.isConnected || now.known === now.paused) return;
  const { paused } = now;
  try {
    await setPaused(paused);
    now.known = paused;
  } catch {
    // Not live yet, or unreachable: told again at the next look.
  }
}

async function pause() {
  if (!shared || shared.paused) return;
  const now = shared;
  now.paused = true;
  cover(true);
  showNow();
  // First what is sent, which needs no answer: nothing of the screen leaves
  // this computer any more.
  const [picture] = now.media.getVideoTracks();
  now.media.getAudioTracks().forEach((track) => { track.enabled = false; });
  now.card = new Card(picture.getSettings());
  await Promise.all([now.publisher.show(now.card.track), tell()]);
}

async function resume() {
  const now = shared;
  if (!now?.paused) return;
  pauseButton.disabled = true;
  try {
    await setPaused(false);
    now.paused = now.known = false;
    const [picture] = now.media.getVideoTracks();
    await now.publisher.show(picture);
    now.card?.stop();
    now.card = null;
    now.media.getAudioTracks().forEach((track) => { track.enabled = true; });
    cover(false);
    showNow();
  } catch (error) {
    showState('paused', `still paused: ${words(error)}`);
  } finally {
    pauseButton.disabled = false;
  }
}

/** Shows what the server says of the stream, again and again. */
async function look() {
  const now = shared;
  if (!now) return;
  let isReached = true;
  try {
    const seen = await session();
    if (shared !== now) return;
    await tell();
    // The server was restarted, or has lost the connection, and the browser has
    // not noticed yet.
    const isMissing = now.publisher.isConnected && (seen.state === null || seen.state === 'signal_lost');
    now.missing = isMissing ? now.missing + LOOK : 0;
    if (now.missing > PATIENCE) {
      now.missing = 0;
      now.publisher.again('server lost the connection');
    }
    await show(now.paused ? { ...seen, secrets: [], frame: null } : seen);
  } catch (error) {
    if (error instanceof ShareRefused && error.isFinal) return end(refusal(error));
    isReached = words(error) !== UNREACHABLE;
  }
  if (shared !== now) return;
  showQuality(await now.publisher.quality());
  if (shared !== now) return;
  if (isReached) showNow();
  else showState('lost', UNREACHABLE);
  window.setTimeout(look, LOOK);
}

pauseButton.addEventListener('click', () => (shared?.paused ? resume() : pause()));
stopButton.addEventListener('click', () => end('Sharing has ended.'));
document.addEventListener('keydown', ({ key, ctrlKey, metaKey, altKey }) => {
  if (key === 'p' && !ctrlKey && !metaKey && !altKey && shared) pauseButton.click();
});
window.addEventListener('pagehide', () => end('Sharing has ended.'));
// Another link may be opened in this tab.
window.addEventListener('hashchange', () => { if (!shared) prepare(); });
const theme = localStorage.getItem('watchtower.theme');
if (theme) document.documentElement.dataset.theme = theme;
prepare();
