package org.crosslens.server.fusion;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Which legs of a search read the same thing, so that they count as opinions of it and not as witnesses of their own: by
 * the rule of the Python package's {@code crosslens.queries.sources}. What shares a field with any leg of a source, read
 * in the same way, belongs to it. The frames, the sound and the captions of one file are three ways to read it.
 */
public final class Sources {

    /** How a field is read: its words. */
    public static final String TEXT = "text";
    /** How a field that refers to a sound or video is read: the pictures in it. */
    public static final String FRAMES = "frames";
    /** How a field that refers to a sound or video is read: what is heard. */
    public static final String SOUND = "sound";
    /** How a field that refers to a sound or video is read: the words of its captions. */
    public static final String CAPTIONS = "captions";
    private static final Set<String> OF_FILES = Set.of(FRAMES, SOUND, CAPTIONS);

    private Sources() {}

    /** A field that a leg reads, as words, as a picture, or as one of the three things that are in a sound or video. */
    public record Read(String modality, String field) {

        private String called() {
            return OF_FILES.contains(modality) ? field + " (" + modality + ")" : field;
        }
    }

    /**
     * The name of each leg's source. {@code reads} are by leg, empty where they aren't known: such a leg reads something
     * of its own. {@code chosen} are by leg, null where nothing is said: those of one name are one source, also with a leg
     * of which nothing is said and whose source has that name.
     */
    public static String[] assign(List<String> legs, List<Set<Read>> reads, List<String> chosen) {
        List<List<Integer>> groups = new ArrayList<>();
        for (int i = 0; i < legs.size(); i++) {
            if (chosen.get(i) != null) {
                continue;
            }
            Set<Read> fields = reads.get(i);
            List<List<Integer>> joined = groups.stream()
                .filter(group -> group.stream().anyMatch(other -> Collections.disjoint(fields, reads.get(other)) == false))
                .toList();
            List<Integer> group = new ArrayList<>();
            joined.forEach(group::addAll);
            group.add(i);
            groups.removeAll(joined);
            groups.add(group);
        }
        String[] sources = chosen.toArray(String[]::new);
        Set<String> taken = new HashSet<>();
        for (List<Integer> group : groups) {
            String name = called(group, legs, reads);
            // A picture's path that is searched as text, and the picture's vector, are two sources of one field.
            while (taken.add(name) == false) {
                name = name + " of " + legs.get(group.get(0));
            }
            for (int i : group) {
                sources[i] = name;
            }
        }
        return sources;
    }

    /** After the fields of the leg that reads the fewest, or after its first leg where fields aren't known. */
    private static String called(List<Integer> group, List<String> legs, List<Set<Read>> reads) {
        return group.stream()
            .map(reads::get)
            .filter(fields -> fields.isEmpty() == false)
            .min(Comparator.comparingInt(Set::size))
            .map(fields -> fields.stream().map(Read::called).sorted().collect(Collectors.joining(", ")))
            .orElseGet(() -> legs.get(group.get(0)));
    }
}
