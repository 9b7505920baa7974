// Says that a user liked an item, in the form that events of the data set have.

import { useState } from "preact/hooks";
import { useAnnounce } from "./announcing";
import { Problem, service, type EventOfUser } from "./service";
import type { Dataset } from "./shapes";
import { named, short } from "./words";

const MOST_RATINGS = 10;
const LATER_MS = 3000; // when the store is slow, the event counts by then

interface Props {
  userId: string;
  item: { item_id: string; title: string | null };
  dataset: Dataset;
  isEach?: boolean; // a button for each rating, not for the best and the worst alone
  onApplied: () => void;
}

interface Choice {
  name: string;
  shown?: string; // on the button, where the name is said before all of them
  said: string;
  event: Pick<EventOfUser, "value" | "event_type">;
}

export function Feedback({ userId, item, dataset, isEach = false, onApplied }: Props) {
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState("");
  const announce = useAnnounce();
  const title = named(item.title, item.item_id);
  const send = async ({ event, said }: Choice) => {
    setSending(true);
    setProblem("");
    try {
      const { applied } = await service.post({ user_id: userId, item_id: item.item_id, ...event });
      announce(`${said}: ${title}. ${applied ? "The list follows." : "It counts in a moment."}`);
      onApplied();
      if (!applied) setTimeout(onApplied, LATER_MS);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    } finally {
      setSending(false);
    }
  };
  const choices = choicesOf(dataset, isEach);
  return (
    <div class="feedback">
      {choices[0]?.shown && (
        <span class="small" aria-hidden="true">
          Rate
        </span>
      )}
      {choices.map((choice) => (
        <button
          key={choice.name}
          type="button"
          disabled={isSending}
          aria-label={`${choice.name}: ${title}`}
          onClick={() => send(choice)}
        >
          {choice.shown ?? choice.name}
        </button>
      ))}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

/** A button for each type of event; of ratings the best and the worst; else one. */
function choicesOf(dataset: Dataset, isEach: boolean): Choice[] {
  if (dataset.event_types.length) {
    return dataset.event_types.map((type) => ({
      name: type,
      said: type,
      event: { event_type: type },
    }));
  }
  if (!dataset.rated || !dataset.value_range)
    return [{ name: "Chose it", said: "Chosen", event: {} }];
  const [worst, best] = dataset.value_range;
  if (isEach && best - worst <= MOST_RATINGS) {
    const first = Math.ceil(worst);
    return Array.from({ length: Math.floor(best) - first + 1 }, (_, at) => rating(first + at));
  }
  return [
    { name: "Liked", said: `Liked, ${short(best)}`, event: { value: best } },
    { name: "Disliked", said: `Disliked, ${short(worst)}`, event: { value: worst } },
  ];
}

const rating = (value: number): Choice => ({
  name: `Rate ${short(value)}`,
  shown: short(value),
  said: `Rated ${short(value)}`,
  event: { value },
});
