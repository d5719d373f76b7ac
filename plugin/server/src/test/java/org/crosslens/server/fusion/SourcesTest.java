package org.crosslens.server.fusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.crosslens.server.fusion.Sources.Read;
import org.junit.jupiter.api.Test;

class SourcesTest {

    private static final List<String> NAMES = List.of("words", "texts", "pictures");
    private static final Read TITLE = new Read("text", "title"), BODY = new Read("text", "body"), PHOTO = new Read("image", "photo");

    private static String[] assigned(List<Set<Read>> reads, String... chosen) {
        return Sources.assign(NAMES, reads, Arrays.asList(chosen));
    }

    @Test
    void whatSharesAFieldIsOneSource() {
        List<Set<Read>> reads = List.of(Set.of(TITLE, BODY), Set.of(TITLE), Set.of(PHOTO));
        assertArrayEquals(new String[] { "title", "title", "photo" }, assigned(reads, null, null, null));
    }

    @Test
    void aLegMayJoinTwoSources() {
        List<Set<Read>> reads = List.of(Set.of(TITLE), Set.of(BODY), Set.of(TITLE, BODY));
        assertArrayEquals(new String[] { "title", "title", "title" }, assigned(reads, null, null, null));
    }

    @Test
    void requestsMaySayOtherwise() {
        List<Set<Read>> reads = List.of(Set.of(TITLE), Set.of(TITLE), Set.of(PHOTO));
        assertArrayEquals(new String[] { "title", "own", "photo" }, assigned(reads, null, "own", null));
        assertArrayEquals(new String[] { "title", "title", "title" }, assigned(reads, null, null, "title"));
    }

    @Test
    void aPathReadAsWordsAndAsAPictureIsTwoSources() {
        List<Set<Read>> reads = List.of(Set.of(new Read("text", "photo")), Set.of(TITLE), Set.of(PHOTO));
        String[] sources = assigned(reads, null, null, null);
        assertEquals("photo", sources[0]);
        assertNotEquals(sources[0], sources[2]);
    }

    @Test
    void framesSoundAndCaptionsOfOneFileAreDifferentSources() {
        Read frames = new Read("frames", "footage"), sound = new Read("sound", "footage"), captions = new Read("captions", "footage");
        String[] sources = assigned(List.of(Set.of(frames), Set.of(sound), Set.of(captions)), null, null, null);
        assertArrayEquals(new String[] { "footage (frames)", "footage (sound)", "footage (captions)" }, sources);
        sources = assigned(List.of(Set.of(frames), Set.of(frames, sound), Set.of(captions)), null, null, null);
        assertArrayEquals(new String[] { "footage (frames)", "footage (frames)", "footage (captions)" }, sources);
    }

    @Test
    void whatIsNotKnownToReadAnythingReadsSomethingOfItsOwn() {
        String[] sources = Sources.assign(List.of("a", "a", "b"), List.of(Set.of(), Set.of(), Set.of()), Arrays.asList(null, null, null));
        assertEquals(3, Set.of(sources).size());
    }
}
