package org.crosslens.server.fusion;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.crosslens.server.fusion.Saying.Noun;
import org.junit.jupiter.api.Test;

class SayingTest {

    private static final double NONE = Double.NaN;

    @Test
    void wordsAreToldByWhatTheyCover() {
        assertEquals("the words cover 80 % of the query", Saying.ofWords(0.25, 0.8, false));
        assertEquals("the words cover 66 % of the query, spelt a little otherwise", Saying.ofWords(0.25, 0.66, true));
        assertEquals("the words cover 12 % of the query", Saying.ofWords(0.25, 0.125, false));
        assertEquals("about 3 documents would match the words as well by chance", Saying.ofWords(3.2, NONE, false));
        assertEquals("the captions cover 80 % of the query", Saying.ofCaptions(0.25, 0.8, false));
        assertEquals("the captions don't match", Saying.ofCaptions(NONE, NONE, false));
        assertEquals("the words don't match", Saying.ofWords(NONE, NONE, false));
    }

    @Test
    void vectorsAreToldByChance() {
        assertEquals("about 2 pictures would match as well by chance", Saying.ofVectors(Noun.PICTURE, 2.5, false, 100));
        assertEquals("about 1 text would match as well by chance", Saying.ofVectors(Noun.TEXT, 0.97, false, 100));
        assertEquals("about 0.3 texts would match as well by chance", Saying.ofVectors(Noun.TEXT, 0.31, false, 100));
        assertEquals("next to no picture would match as well by chance", Saying.ofVectors(Noun.PICTURE, 0.01, false, 100));
        assertEquals("about 2 scenes would match as well by chance", Saying.ofVectors(Noun.of("video", "frames"), 2.5, false, 100));
        assertEquals("it has no sound to compare", Saying.ofVectors(Noun.of("audio", "sound"), NONE, true, 100));
        assertEquals("its caption is not among the 60 nearest", Saying.ofVectors(Noun.of("video", "captions"), NONE, false, 60));
        assertEquals("next to no clip would match as well by chance", Saying.ofVectors(Noun.of("video", "both"), 0.01, false, 100));
        assertEquals("it has no vector to compare", Saying.ofVectors(Noun.of("smell", null), NONE, true, 100));
        assertEquals("it has no picture to compare", Saying.ofVectors(Noun.PICTURE, NONE, true, 100));
        assertEquals("its text is not among the 60 nearest", Saying.ofVectors(Noun.TEXT, NONE, false, 60));
        assertEquals(Noun.VECTOR, Noun.of(null, null));
    }
}
