import java.lang.instrument.Instrumentation;

/** Attaches Elasticsearch's entitlement checks; the official agent jar is not published to Maven. */
public class EntitlementAgent {
    public static void agentmain(String initializer, Instrumentation instrumentation) throws Exception {
        Class.forName(initializer).getMethod("initialize", Instrumentation.class).invoke(null, instrumentation);
    }
}
