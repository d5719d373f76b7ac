import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.elasticsearch.bootstrap.ServerArgs;
import org.elasticsearch.common.io.stream.OutputStreamStreamOutput;
import org.elasticsearch.common.settings.KeyStoreWrapper;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;

/**
 * Writes the serialised {@link ServerArgs} that the server reads from its standard input.
 *
 * <p>Usage: {@code LaunchArguments CONFIG_DIR LOGS_DIR KEY=VALUE...}; the bytes go to standard output. The settings
 * given come on top of those in the configuration folder's elasticsearch.yml, which the server itself doesn't read.
 */
public class LaunchArguments {
    public static void main(String[] arguments) throws Exception {
        Path config = Path.of(arguments[0]);
        Map<String, String> given = new HashMap<>();
        for (int i = 2; i < arguments.length; i++) {
            int equals = arguments[i].indexOf('=');
            given.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
        Settings settings =
            InternalSettingsPreparer.prepareEnvironment(Settings.EMPTY, given, config, () -> "crosslens").settings();
        if (Files.exists(config.resolve("elasticsearch.keystore")) == false) {
            KeyStoreWrapper.create().save(config, new char[0]);
        }
        KeyStoreWrapper keystore = KeyStoreWrapper.load(config);
        keystore.decrypt(new char[0]);
        ServerArgs server = new ServerArgs(false, true, null, keystore, settings, config, Path.of(arguments[1]));
        OutputStreamStreamOutput out = new OutputStreamStreamOutput(System.out);
        server.writeTo(out);
        out.flush();
    }
}
