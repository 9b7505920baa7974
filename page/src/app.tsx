// The frame of the page: its head, the view of the place, the question for a key.

import { useEffect, useState } from "preact/hooks";
import { Announcing } from "./announcing";
import { useAnswer } from "./asking";
import { CompareView } from "./compare_view";
import { ForView } from "./for_view";
import { HealthView } from "./health_view";
import { ItemView } from "./item_view";
import { KeyForm } from "./key_form";
import { addressOf, usePlace, type Place, type View } from "./place";
import { ProblemNote } from "./problem_note";
import { service } from "./service";
import type { Dataset, Status } from "./shapes";

const TITLES: Record<View, string> = {
  for: "Recommendations",
  compare: "Compare models",
  item: "Item",
  health: "Health",
};

export function App() {
  const place = usePlace();
  const status = useAnswer("status", service.status);
  const [said, setSaid] = useState("");
  const dataset = status.answer?.dataset;
  useEffect(() => {
    document.title = `${TITLES[place.view]} · ${dataset?.name ?? "feast-fusion"}`;
  }, [place.view, dataset?.name]);
  useEffect(() => {
    // What had the focus may have gone with the view before.
    if (status.answer && document.activeElement === document.body) focusContent();
  }, [place.view, place.id]);
  return (
    <Announcing.Provider value={setSaid}>
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <Head place={place} status={status.answer} />
      <main id="content" tabIndex={-1}>
        {status.problem?.status === 401 ? (
          <KeyForm onKey={status.again} wasRefused={status.problem} />
        ) : status.problem && !status.answer ? (
          <ProblemNote problem={status.problem} onRetry={status.again} />
        ) : status.answer ? (
          <ViewOf place={place} status={status.answer} />
        ) : (
          <p class="quiet">Asking the service…</p>
        )}
      </main>
      <p class="unseen" role="status">
        {said}
      </p>
    </Announcing.Provider>
  );
}

function ViewOf({ place, status }: { place: Place; status: Status }) {
  const { dataset, models } = status;
  if (place.view === "item")
    return <ItemView key={place.id} itemId={place.id} place={place} dataset={dataset} />;
  if (place.view === "compare")
    return <CompareView place={place} dataset={dataset} models={models} />;
  if (place.view === "health") return <HealthView />;
  return <ForView place={place} dataset={dataset} />;
}

/** The address has the view after its #, so the content is focused by hand. */
function skip(event: Event): void {
  event.preventDefault();
  focusContent();
}

function focusContent(): void {
  document.getElementById("content")?.focus();
}

function Head({ place, status }: { place: Place; status: Status | null }) {
  const person = place.view === "item" ? (place.options.get("for") ?? "") : place.id;
  const kept = place.view === "item" || place.view === "health" ? undefined : place.options;
  return (
    <header class="head">
      <a class="brand" href="#/">
        <span class="mark" aria-hidden="true" />
        feast-fusion
      </a>
      {status && <DatasetName dataset={status.dataset} />}
      <nav aria-label="Views">
        <ViewLink view="for" id={person} options={kept} now={place.view} name="Recommend" />
        <ViewLink view="compare" id={person} options={kept} now={place.view} name="Compare" />
        <ViewLink view="health" now={place.view} name="Health" />
        <a href="/docs">API</a>
      </nav>
    </header>
  );
}

function DatasetName({ dataset }: { dataset: Dataset }) {
  return (
    <span class="quiet dataset">
      {dataset.name} <span class="number">{dataset.n_items.toLocaleString("en")}</span> items
    </span>
  );
}

interface ViewLinkProps {
  view: View;
  id?: string;
  options?: URLSearchParams | undefined;
  now: View;
  name: string;
}

function ViewLink({ view, id, options, now, name }: ViewLinkProps) {
  return (
    <a href={addressOf(view, id, options)} aria-current={view === now ? "page" : undefined}>
      {name}
    </a>
  );
}
